"""How to train, as data: one frozen Recipe; the profiles smoke, quick and full only change its sizes."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training, apart from the network, the faces and the software.

    The defaults are the original report's: Adam at 0.001, batches of 100, 200 epochs, a random 10% of Training held out.
    Angles are in degrees; zoom is the largest relative change of height and of width; caps are numbers of images.
    """

    name: str = "original"
    profile: str = "full"
    epochs: int = 200
    batch: int = 100
    learning_rate: float = 0.001
    schedule: str = "constant"  # or "cosine": the learning rate falls to zero along half a cosine over the whole training
    loss: str = "stable"  # "stable" works on logits; "clipped" clips the probabilities at 1e-7, as Keras did in 2018
    norm_momentum: float = 0.99  # of BatchNorm's moving averages: they remember about 1 / (1 - momentum) steps
    rotation: float = 20.0
    shear: float = 0.2
    zoom: float = 0.2
    flip: bool = True
    held_out: float = 0.1
    train_cap: int | None = None
    held_out_cap: int | None = None
    tests: bool = True  # predict PublicTest, PrivateTest and Test too, as far as the data have them
    first_step: float | None = None  # learning rate of one oversized first step (chapter 2's experiment; constant schedule)
    seed: int = 0


# On 2 CPU cores the CNN trains at 20 to 50 images a second and the DNN 30 times faster, so the cheap DNN affords more epochs.
# What suits 200 epochs does not suit 3: moving averages over 100 steps would lag behind weights that change fast, and look random
# on held-out images; faces that are turned and zoomed take longer to learn; and a rate that falls to zero lets few steps settle.
SHORT = {"schedule": "cosine", "norm_momentum": 0.9, "rotation": 0, "shear": 0, "zoom": 0, "tests": False}
PROFILES = {
    "smoke": {
        "cnn": SHORT | {"epochs": 2, "batch": 10, "train_cap": 450, "held_out_cap": 150},
        "dnn": SHORT | {"epochs": 3, "batch": 50, "train_cap": 450, "held_out_cap": 150},
    },
    "quick": {
        "cnn": SHORT | {"epochs": 3, "batch": 20, "train_cap": 900, "held_out_cap": 400},
        "dnn": SHORT | {"epochs": 6, "batch": 50, "train_cap": 900, "held_out_cap": 400},
    },
    "full": {"cnn": {}, "dnn": {}},
}


def recipe(network: str, profile: str = "quick", **changes) -> Recipe:
    """Return the recipe of a network ("cnn" or "dnn") under a profile, with any field changed by keyword.

    Raises ValueError for an unknown network or profile and TypeError for an unknown field.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is unknown: choose one of {', '.join(PROFILES)}")
    if network not in PROFILES[profile]:
        raise ValueError(f"network {network!r} is unknown: choose one of {', '.join(PROFILES[profile])}")
    return replace(Recipe(profile=profile), **PROFILES[profile][network] | changes)
