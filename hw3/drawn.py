"""The drawn faces: the project's own 48x48 grey faces, made from numbers, so that it runs where FER2013 may not go.

An expression is a set of facial action units (AU), the muscle movements of the Facial Action Coding System:
Ekman & Friesen (1978), Facial Action Coding System, Consulting Psychologists Press; second edition by Ekman, Friesen &
Hager (2002), Research Nexus. UNITS and EXPRESSIONS are that system's units and prototypes; how far a unit moves a line
here is drawn by eye. Nothing learned from these faces says anything about people.

A block of faces is one NumPy array, and every step works on all of them at once. A face has its own coordinates: pixels
at scale 1, x to the right, y down, (0, 0) in the middle of the head. Shapes are soft signed distances (negative inside),
laid over an albedo (the grey of each material); light, occlusion, blur and noise come last, as in a camera.
"""

from types import SimpleNamespace

import numpy as np

SIZE = 48
BLOCK = 32  # faces drawn at once: a block's working arrays (288 KiB each) stay near the processor's cache

UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    20: "lip stretcher",
    23: "lip tightener",
    26: "jaw drop",
}
EXPRESSIONS = (  # the units of each emotion, by emotion code: Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral
    (4, 5, 7, 23),
    (9, 15, 16),
    (1, 2, 4, 5, 7, 20, 26),
    (6, 12),
    (1, 4, 15),
    (1, 2, 5, 26),
    (),
)
COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # of FER2013's Training images: the frequencies of the drawn ones
NEUTRAL = 6

# What differs between two pictures apart from the expression: name -> (low, high), each uniform. Lengths are in pixels.
TRAITS = {
    # the picture: pose, light, camera, and now and then a hand in front
    "shift_x": (-4.5, 4.5),
    "shift_y": (-4, 4),
    "scale": (0.9, 1.18),
    "turn": (-0.26, 0.26),  # in the plane, radians: 15 degrees
    "yaw": (-1, 1),  # out of the plane: the features slide sideways and the far eye narrows
    "pitch": (-1, 1),
    "light_x": (-0.9, 0.9),
    "light_y": (-0.8, 0.3),
    "contrast": (0.75, 1.2),
    "brightness": (-0.08, 0.1),
    "blur": (-0.15, 0.2),  # none where negative, and so for other traits of only some faces
    "noise": (0.01, 0.12),
    "backdrop": (0.05, 0.95),
    "backdrop_x": (-0.5, 0.5),
    "backdrop_y": (-0.25, 0.25),
    "cover": (-7.5, 1),
    "cover_angle": (0, 2 * np.pi),
    "cover_reach": (4, 15),
    "cover_off": (-14, 14),
    # the head
    "skin": (0.45, 0.85),
    "head_w": (15, 18),
    "head_h": (19.5, 22.5),
    "jaw": (0.1, 0.35),
    "neck": (8, 12),
    "hair": (0.04, 0.6),
    "hairline": (-19, -13.5),
    "parting": (-3, 3),
    "temples": (2, 14),
    "hair_long": (-0.6, 1),
    "stubble": (-0.6, 0.35),
    "moustache": (-1.5, 0.5),
    "glasses": (-5, 1),
    # the features at rest
    "eye_x": (6.9, 8.3),
    "eye_w": (3.7, 4.6),
    "eye_h": (1.7, 2.5),
    "eye_low": (1.0, 1.5),
    "iris": (0.1, 0.4),
    "gaze": (-1, 1),
    "bags": (0, 0.2),
    "brow_y": (-5.8, -4.4),
    "brow_slope": (-0.7, 0.7),
    "brow_arch": (0.2, 1.3),
    "brow_thick": (0.7, 1.5),
    "furrow": (-0.15, 0.2),
    "nose_w": (2.6, 3.8),
    "nose_dark": (0.05, 0.22),
    "mouth_y": (10.2, 12),
    "mouth_w": (6.3, 7.7),
    "mouth_bend": (-0.8, 0.8),  # corners of the resting mouth, down is positive
    "lip_up": (0.8, 1.5),
    "lip_low": (1.2, 2.1),
    "lip_dark": (0.15, 0.4),
    "parted": (-0.8, 0.5),
    "smile_open": (0.15, 1),
    "lopsided": (-0.25, 0.25),
}


def draw(n, seed=0, labels=None, intensity=None, units=None):
    """Draw n faces: the first m of draw(n, seed) are draw(m, seed).

    labels: emotion codes 0-6, one for all or one a face; without them, drawn with FER2013's frequencies.
    intensity: from 0 (neutral) to 1 (full), one for all or one a face; without it, drawn from faint to full.
    units: activations in [0, 1] of the action units, shape (13,) or (n, 13) in the order of UNITS, in place of those of
    the label; the labels are then only passed on. Whatever is given, face i of a seed keeps its identity and its pose.

    Returns images uint8 (n, 48, 48), labels uint8 (n,) and intensity float32 (n,), which is 0 where the label is Neutral.
    Raises ValueError where an argument has the wrong shape or range.
    """
    if n < 0 or n != int(n):
        raise ValueError(f"n must be a whole number of faces, at least 0, not {n}")
    labels = _one_each("labels", labels, (n,), len(EXPRESSIONS) - 1)
    if labels is not None and (labels != labels.astype(int)).any():
        raise ValueError("labels must be whole numbers")
    intensity = _one_each("intensity", intensity, (n,), 1)
    units = _one_each("units", units, (n, len(UNITS)), 1)
    np.empty(16 << 20, np.uint8)  # freed at once, it makes glibc keep freed memory for the next arrays: 1.5 times as fast
    images = np.empty((n, SIZE, SIZE), np.uint8)
    all_labels = np.empty(n, np.uint8)
    all_intensity = np.empty(n, np.float32)
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        m = part.stop - start
        rng = np.random.default_rng([seed, start // BLOCK])
        # Everything random is drawn for the whole block, or last, so that m faces start like BLOCK faces.
        values = rng.random((len(TRAITS), BLOCK))[:, :m]
        mood, strength = rng.random((2, BLOCK))[:, :m]
        jitter = rng.uniform(0.65, 1.0, (BLOCK, len(UNITS)))[:m]
        limits = np.cumsum(COUNTS)
        kind = np.searchsorted(limits, mood * limits[-1], side="right") if labels is None else labels[part].astype(int)
        force = 0.2 + 0.8 * strength if intensity is None else intensity[part]
        force = np.where(kind == NEUTRAL, 0, force)
        active = activations(kind, force) * jitter if units is None else units[part]
        traits = {
            name: (low + (high - low) * value).astype(np.float32)[:, None, None]
            for (name, (low, high)), value in zip(TRAITS.items(), values, strict=True)
        }
        action = dict(zip(UNITS, active.T.astype(np.float32)[:, :, None, None], strict=True))
        images[part] = _picture(SimpleNamespace(**traits), action, rng)
        all_labels[part], all_intensity[part] = kind, force
    return images, all_labels, all_intensity


def activations(labels, intensity):
    """The action units of emotions, shape (n, 13) in [0, 1], in the order of UNITS: intensity (n,) where AU is in EXPRESSIONS."""
    table = np.array([[unit in units for unit in UNITS] for units in EXPRESSIONS], np.float32)
    return table[np.asarray(labels)] * np.asarray(intensity, np.float32)[..., None]


def _one_each(name, values, shape, high):
    """The values as an array of the shape, or None; one clear line where they do not fit it or leave [0, high]."""
    if values is None:
        return None
    try:
        values = np.broadcast_to(np.asarray(values, np.float32), shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers of shape {shape}, or fit it, not {np.shape(values)}") from None
    if not ((values >= 0) & (values <= high)).all():
        raise ValueError(f"{name} must be from 0 to {high}")
    return values


def _soft(distance):
    """1 inside a shape (distance < 0), 0 outside, with an edge one pixel wide."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


def _line(distance, width):
    """1 within half a width of a line, 0 away from it."""
    return _soft(np.abs(distance) - width / 2)


def _bump(x):
    """1 at 0, falling to 0 at -1 and 1."""
    return np.maximum(1 - x * x, 0)


def _over(picture, alpha, grey):
    """Lay a grey over the picture, in place."""
    picture += alpha * (grey - picture)


def _picture(t, au, rng):
    """The images, uint8 (m, 48, 48), of faces with traits t and action units au (each value of shape (m, 1, 1))."""
    cos, sin = (f(t.turn.astype(float)).astype(np.float32) for f in (np.cos, np.sin))
    middle_x, middle_y = SIZE / 2 - 0.5 + t.shift_x, SIZE / 2 + t.shift_y
    rows, columns = np.arange(SIZE, dtype=np.float32)[:, None], np.arange(SIZE, dtype=np.float32)

    def face_at(rows, columns, x=0, y=0):
        """Face coordinates of pixels, seen from the point (x, y) of the face."""
        across, down = (columns - middle_x) / t.scale, (rows - middle_y) / t.scale
        return (cos * across - x) + sin * down, (cos * down - y) - sin * across

    picture, light = _head(t, au, *face_at(rows, columns))
    pixels = picture.reshape(-1)
    first = np.arange(0, pixels.size, SIZE * SIZE)[:, None, None]

    def feature(paint, x, y, height, width, *more):
        """Paint a feature around (x, y) in the window of the picture that holds it: most of a face is not mouth."""
        row = middle_y + t.scale * (cos * y + sin * x) - height / 2
        column = middle_x + t.scale * (cos * x - sin * y) - width / 2
        row, column = np.clip(np.rint(row), 0, SIZE - height), np.clip(np.rint(column), 0, SIZE - width)
        where = (first + row * SIZE + column).astype(int) + (rows[:height] * SIZE + columns[:width]).astype(int)
        window = pixels[where]
        paint(t, au, window, *face_at(row + rows[:height], column + columns[:width], x, y), *more)
        pixels[where] = window

    slide_x, slide_y = 2.5 * t.yaw, 1.5 * t.pitch
    feature(_nose, 1.4 * slide_x, 4 + 1.4 * slide_y, 28, 20)
    for side in (-1, 1):
        feature(_eye, side * t.eye_x + slide_x, slide_y - 3.5, 22, 22, side)
    feature(_mouth, slide_x, t.mouth_y + slide_y + 1.3 * au[26], 26, 28)
    picture *= light
    return _photograph(t, picture, rng)


def _head(t, au, u, v):
    """Backdrop, hair, neck and the bare head: their albedo, and the light that falls on each pixel."""
    picture = t.backdrop + (t.backdrop_x / SIZE) * u + (t.backdrop_y / SIZE) * v
    wide = np.abs(u)
    # Below the middle the head narrows to the jaw, and is longer when the jaw drops (AU26).
    tall = v / t.head_h - np.maximum(v, 0) * (0.12 * au[26] / t.head_h)
    lean = u / (t.head_w - (t.jaw * t.head_w) * np.maximum(tall, 0) ** 2)
    radius2 = lean * lean + tall * tall
    radius = np.sqrt(radius2)
    edge = (radius - 1) * t.head_w
    behind = (wide / (t.head_w + 3)) ** 2 + (np.minimum(v + 2, 0) / (t.head_h + 1)) ** 2
    _over(picture, _soft((behind - 1) * 8) * (t.hair_long > 0) * _soft(v - 26 * t.hair_long), t.hair * 0.8)
    _over(picture, _soft(wide - t.neck) * _soft(12 - v), t.skin * 0.72)
    ear = ((wide - t.head_w + 0.5) / 2.4) ** 2 + ((v + 1) / 4.2) ** 2
    _over(picture, _soft((ear - 1) * 1.5) * (t.hair_long <= 0.3), t.skin * 0.85)
    head = _soft(edge)
    beard = np.clip(v / 8 - 0.5, 0, 1) * np.maximum(t.stubble, 0)
    _over(picture, head, t.skin - t.skin * beard)
    hairline = t.hairline + t.parting * 0.12 * u + t.temples * np.maximum(radius2 - 0.6, 0)
    cap = _soft(edge - 1.3) * _soft(v - hairline)
    _over(picture, cap, t.hair * (0.85 + 0.6 * _bump(2 * (lean - 0.5 * t.light_x)) * _bump((v + 17) / 5)))
    # The head is half an ellipsoid with the normal (lean, tall, rest); light falls on it as the cosine (Lambert).
    rest = np.sqrt(np.maximum(1 - 0.9 * radius2, 0))
    lambert = 0.05 + lean * (0.42 * t.light_x) + tall * (0.42 * t.light_y) + 0.5 * rest - 0.35
    return picture, 1 + np.maximum(head, cap) * lambert


def _nose(t, au, picture, x, y):
    """The nose, around its tip, and the furrows above it between the brows."""
    shadow = np.copysign(np.float32(1.8), -t.light_x)  # the nose shades its side away from the light
    wide = np.abs(x)
    raised = y + 1.1 * au[9]
    wing = t.nose_w + 0.6 * au[9] + 0.3 * au[12]
    dark = t.nose_dark * _bump((x - shadow) / 1.8) * _bump((y + 3.5) / 6)
    dark -= 0.14 * _bump(x / 1.7) * _bump((y + 2) / 5)
    dark += 0.5 * _bump((wide - 0.55 * wing) / 1.1) * _bump((raised - 1.2) / 1.1)
    dark += 0.3 * _bump((wide - wing) / 0.9) * _bump(raised / 2)
    dark += 0.18 * _bump(x / wing) * _bump((raised - 2) / 1.4)
    # AU9 folds the root of the nose; AU4 draws the brows together with a furrow between them.
    root = y - 0.5 * wide
    dark += (0.5 * au[9]) * _bump(wide / 4) * (_line(root + 6.5, 0.6) + _line(root + 4.2, 0.6))
    dark += np.clip(t.furrow + 0.45 * au[4], 0, 1) * _bump((wide - 1.4) / 0.9) * _bump((y + 11.5) / 3)
    picture *= 1 - dark


def _eye(t, au, picture, x, y, side):
    """One eye and its brow, around the eye; x grows away from the nose. side: -1 left, 1 right in the picture."""
    x = x * np.float32(side)
    far = 1 - 0.14 * t.yaw * side
    tilt = 1 + t.lopsided * side
    width = t.eye_w * far
    along = x / width
    arch = 1 - along * along
    ends = _soft((np.abs(along) - 1.1) * 3)
    upper = np.maximum(t.eye_h + 1.5 * au[5] - 0.5 * au[7] - 0.3 * au[6] - 0.6 * au[9] - 0.3 * au[4], 0.5)
    lower = np.maximum(t.eye_low - 0.7 * au[7] - 0.9 * au[6] - 0.6 * au[9], 0.1)
    top = (0.6 * au[1]) * along - upper * arch  # the inner corner of the lid follows the inner brow
    bottom = lower * arch
    # The hollow of the eye; the pouch under it, deeper as the cheek rises; the crow's feet; the crease of the lid.
    dark = 0.16 * _bump(x / 7) * _bump((y + 2.5) / 3.5)
    dark += (t.bags + 0.4 * au[6] + 0.25 * au[7]) * _line(y - bottom - 1.5 + 0.6 * au[6], 0.8) * _bump(along / 1.2)
    corner = x - width
    dark += (0.4 * au[6]) * _bump(corner / 2 - 1) * (_line(y + 0.55 * corner, 0.4) + _line(y - 0.7 * corner, 0.4))
    dark += 0.25 * _line(y - top + 1.6 - 0.5 * au[5], 0.5) * _bump(along / 1.3)
    dark -= (0.15 * au[6]) * _bump(x / 5) * _bump((y - 5.5) / 2.5)
    picture *= 1 - dark
    # White, iris, pupil; then the lashes.
    ball = np.sqrt((x - side * t.gaze) ** 2 + (y + 0.4) ** 2)
    eye = 0.9 - 0.15 * _soft(y - top - 1)
    _over(eye, _soft(ball - 2.1), t.iris)
    _over(eye, _soft(ball - 0.8), 0.04)
    _over(picture, _soft(np.maximum(top - y, y - bottom)), eye)
    _over(picture, _line(y - top, 0.9) * ends, 0.08)
    _over(picture, _line(y - bottom, 0.3) * ends, t.skin * 0.55)
    # The brow, b from -1 (inner end) to 1 (outer end), and the forehead's wrinkles over a raised one.
    b = np.clip((x - 0.4 + 1.3 * au[4]) / (5.6 * far), -1.3, 1.3)
    inner = (0.5 - 0.5 * b) ** 2
    up = (3.2 * au[1]) * inner + (1.3 * tilt * au[2]) * (1 + b)
    down = (1.1 * au[4]) + (1.9 * au[4] * (1 - np.maximum(au[1], au[2]))) * inner
    brow = y - (t.brow_y + 0.7 * au[9] - 0.25 * tilt) - t.brow_slope * b + up - down
    brow += (t.brow_arch + 0.7 * au[2]) * (1 - b * b)
    hairs = _line(brow, t.brow_thick * (1.15 - 0.4 * b)) * _soft((np.abs(b) - 1) * 5)
    _over(picture, hairs, np.minimum(0.5 * t.hair, 0.35 * t.skin))
    picture *= 1 - np.maximum((0.3 * au[1]) * inner, 0.25 * au[2]) * _line(brow + 2.9, 0.5) * _bump(b)
    # Glasses: a rim and the bars to the nose and to the ear.
    rim = (np.sqrt((x / 6.2) ** 2 + ((y - 0.4) / 5) ** 2) - 1) * 5.5
    bars = np.maximum(np.abs(y + 0.6) - 0.2, 6 - np.abs(x))
    _over(picture, np.maximum(_line(rim, 0.7), _soft(bars)) * (t.glasses > 0), t.hair * 0.5)


def _mouth(t, au, picture, x, y):
    """The mouth, around its middle, and the folds beside it."""
    wide = np.abs(x)
    tilt = 1 + t.lopsided * np.sign(x)
    width = t.mouth_w + 1.6 * au[12] + 1.8 * au[20] - 1.2 * au[23] - 2.4 * au[26] * (1 - au[20])
    along2 = (x / width) ** 2
    arch = 1 - along2
    ends = _soft((along2 - 1) * 3)
    bend = t.mouth_bend + 0.5 * au[20] + (3.0 * au[15] - 3.8 * au[12]) * tilt
    y = y - bend * (np.minimum(along2, 1.4) - 0.35) + 0.7 * au[9]
    # Half the opening above and below the line where closed lips meet; a stretched mouth opens as a box.
    rest = np.maximum(t.parted, 0) * (1 - au[23])
    smile = au[12] * t.smile_open
    tall = au[26] * (1 - 0.4 * au[20])
    box = arch * (1 + au[20] * along2)
    top = -(rest + 0.6 * smile + 2.6 * tall + 0.5 * au[9]) * box
    bottom = (rest + 1.9 * smile + 3.7 * tall + 1.9 * au[16] + 0.4 * au[20]) * box
    thin = 1 - 0.65 * au[23] - 0.25 * au[20] - 0.25 * au[12]
    lips_top = top - (t.lip_up * thin) * arch
    lips_bottom = bottom + (t.lip_low * thin) * arch
    # Folds from the nose past the corners; a moustache; the shadow of the lower lip.
    fold = wide - 4.2 - 0.55 * np.clip(y + 7, 0, 9) - 0.8 * au[12]
    dark = (0.05 + 0.3 * au[12] + 0.32 * au[9] + 0.12 * au[20]) * _line(fold, 0.9) * _bump((y + 3.2) / 4.5)
    dark += np.maximum(t.moustache, 0) * _bump(x / 7.5) * _bump((y + 3.3) / 1.8)
    dark += (0.22 + 0.15 * au[15]) * _bump(x / (0.7 * width)) * _bump((y - lips_bottom - 1.2) / 1.6)
    picture *= 1 - dark
    # Lips, the dark between them, the teeth that a smile shows above and a lowered lip below.
    _over(picture, _soft(np.maximum(lips_top - y, y - lips_bottom)), t.skin * (1 - t.lip_dark))
    hole = _soft(np.maximum(top - y, y - bottom)) * ends
    teeth = np.maximum(_soft(y - top - 2.2 * smile - 0.8 * tall), _soft(bottom - y - 1.4 * au[16] - 0.6 * au[20]))
    shown = np.clip(2 * (smile + au[16] + 0.5 * tall), 0, 1)
    _over(picture, hole, 0.07 + (0.8 * shown) * teeth * _soft((along2 - 0.7) * 4))
    _over(picture, (0.7 + 0.3 * au[23]) * _line(y - np.maximum(top, -0.4), 0.6 + 0.3 * au[23]) * ends, 0.1)


def _photograph(t, picture, rng):
    """What a camera adds: a hand in front, contrast, blur, noise, and eight bits."""
    hands = np.flatnonzero(t.cover > 0)
    if len(hands):
        cos, sin = (f(t.cover_angle[hands].astype(float)).astype(np.float32) for f in (np.cos, np.sin))
        y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) - np.float32(SIZE / 2 - 0.5)
        along, across = cos * x + sin * y, cos * y - sin * x - t.cover_off[hands]
        finger = np.abs(across - 4.4 * np.rint(across / 4.4))
        tip = t.cover_reach[hands] - along + 0.25 * finger * finger + 0.06 * across * across
        covered = picture[hands]
        _over(covered, _soft(tip) * _soft(np.abs(across) - 8.8), t.skin[hands] * (1 - 0.06 * finger * finger))
        picture[hands] = covered
    blur = np.maximum(t.blur, 0)
    picture[:, 1:-1] += blur * (picture[:, 2:] + picture[:, :-2] - 2 * picture[:, 1:-1])
    picture[:, :, 1:-1] += blur * (picture[:, :, 2:] + picture[:, :, :-2] - 2 * picture[:, :, 1:-1])
    picture = picture * (255 * t.contrast) + 255 * (0.48 + t.brightness - 0.48 * t.contrast) + np.float32(0.5)
    picture += (255 * t.noise) * (rng.random(picture.shape, dtype=np.float32) - np.float32(0.5))
    return np.clip(picture, 0, 255).astype(np.uint8)
