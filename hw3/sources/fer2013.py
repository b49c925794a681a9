"""FER2013 in words and numbers: what every reader, and every room above, goes by."""

EMOTIONS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
N_CLASSES = len(EMOTIONS)
ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(N_CLASSES)
UNLABELED = 255
PARTS = ("Training", "PublicTest", "PrivateTest", "Test")  # Test: Public or Private, unknown which
TRAINING, PUBLIC, PRIVATE, TEST = range(len(PARTS))
# Names of folders, in lower case: of parts, and of each emotion, the usual one first.
FOLDERS = {"train": TRAINING, "training": TRAINING, "test": TEST, "privatetest": PRIVATE}
FOLDERS |= dict.fromkeys(("val", "valid", "validation", "publictest"), PUBLIC)
SPELLINGS = ["angry anger 0", "disgust disgusted 1", "fear fearful 2", "happy happiness 3"]
SPELLINGS += ["sad sadness 4", "surprise surprised suprise 5", "neutral 6"]
SPELLINGS = [words.split() for words in SPELLINGS]
SIDE = 48
PIXELS = SIDE * SIDE

FER2013 = 35_887  # faces
FINGERPRINT = "79c8c790bec80c02"  # of all of them in the order of fer2013.csv
COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # Training's faces, by emotion
