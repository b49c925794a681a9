"""How to train, as data: RECIPES say how, the profiles smoke, quick, cpu and full how much."""

import ast
import math
import os
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Recipe:
    """All that decides a training but network, faces and software; the defaults: the original's."""

    name: str = "original"
    profile: str = "full"
    architecture: str = "original"  # or "residual", of the dense network; "narrow", of the CNN
    epochs: int = 200
    batch: int = 100
    optimizer: str = "adam"  # or "sgd", with Nesterov momentum 0.9
    learning_rate: float = 0.001
    weight_decay: float = 0.0  # decoupled, times the learning rate; not on biases and normalization
    warmup: float = 0.0  # share of all steps in which the learning rate of "cosine" rises from zero
    schedule: str = "constant"  # or "cosine": to zero along half a cosine over the whole training
    loss: str = "stable"  # on logits; or "clipped": probabilities clipped at 1e-7, as Keras in 2018
    smoothing: float = 0.0  # share of the label spread over all seven classes (stable loss)
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), of which a face's share in its mix is drawn
    ema: float = 0.0  # momentum of the weights' moving average, which then is what is judged
    norm_momentum: float = 0.99  # BatchNorm's averages remember about 1 / (1 - momentum) steps
    precise_norm: bool = False  # at the end, BatchNorm averages anew, over undistorted faces
    dtype: str = "float32"  # of Keras; or "mixed_bfloat16": what a GPU multiplies fastest
    flip: bool = True  # the distortions, to brightness: the largest ones, of grays from 0 to 1
    rotation: float = 20.0  # degrees
    shear: float = 0.2  # degrees
    zoom: float = 0.2  # relative change of height and of width
    shift: float = 0.0  # pixels
    contrast: float = 0.0  # relative change of a face's differences to its mean gray
    brightness: float = 0.0  # change of that mean
    views: int = 1  # of a face, averaged by a prediction: 1, 2 (mirrored too) or 10 (shifted too)
    held_out: float = 0.1  # share of Training
    public: bool = False  # learn from PublicTest too, not tested then; held_out is of both
    together: bool = False  # identical pictures stay on one side of the split
    train_cap: int | None = None  # images
    held_out_cap: int | None = None  # images
    tests: bool = True  # predict PublicTest (unless learned from), Test, PrivateTest (unless tried)
    first_step: float | None = None  # learning rate of one oversized first step (chapter 2)
    seed: int = 0

    def __post_init__(self):
        """Raise ValueError, in one line, where a field has a wrong type or value."""
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type in (float, float | None) and type(value) is int:
                value = float(value)
                object.__setattr__(self, name, value)
            text = f"recipe: {name} is {value!r}"
            if not isinstance(value, field.type) or (field.type is int and isinstance(value, bool)):
                raise ValueError(f"{text}, of the wrong type: its usual value is {field.default!r}")
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{text}: choose one of {', '.join(map(str, CHOICES[name]))}")
            low, high = LIMITS.get(name, (0, math.inf))
            if isinstance(value, int | float) and not low <= value < high:
                most = f" and less than {high}" if high < math.inf else ""
                raise ValueError(f"{text}: at least {low}{most} is needed")
        if self.first_step and self.schedule != "constant":
            todo = f"not {self.schedule}: add --set schedule=constant"
            raise ValueError(f"recipe: first_step goes with schedule constant, {todo}")


CHOICES = {"architecture": ("original", "residual", "narrow"), "optimizer": ("adam", "sgd")}
CHOICES |= {"schedule": ("constant", "cosine"), "loss": ("stable", "clipped")}
CHOICES |= {"dtype": ("float32", "mixed_bfloat16"), "views": (1, 2, 10)}
LIMITS = dict.fromkeys(("epochs", "batch", "train_cap", "held_out_cap"), (1, math.inf))
LIMITS |= dict.fromkeys(("smoothing", "ema", "warmup", "zoom", "norm_momentum"), (0, 1))
LIMITS |= {"held_out": (0.001, 1), "seed": (0, 2**32)}  # from the first on, below the second
CHANGES = "HW3_SET"  # a variable: changes of own trainings, "epochs=5 batch=20"

# "modern" takes from the best single networks on FER2013 (Khaireddin and Chen 2021, arXiv
# 2105.03588) the cosine, the shifts, turns and zooms, and the ten views, and adds warm-up and label
# smoothing. The CNN has Adam, the DNN SGD, though the ablation cannot tell these two apart. Like
# theirs it learns from nearly all of Training; what is tried out holds out a tenth. "mild" is an
# earlier "modern" with weaker distortions.
SGD = {"optimizer": "sgd", "learning_rate": 0.1, "batch": 256, "weight_decay": 5e-4}
SPLIT, TENTH = {"together": True, "held_out": 0.02}, {"held_out": 0.1}
SMOOTH = {"smoothing": 0.1, "warmup": 0.05, "schedule": "cosine", "shear": 0.0}
ADAM = {"learning_rate": 0.002, "batch": 512, "dtype": "mixed_bfloat16", "precise_norm": True}
MILD = {"epochs": 250, "rotation": 15.0, "shift": 2.0, "views": 10} | ADAM | SMOOTH | SPLIT
MODERN = MILD | {"rotation": 20.0, "shift": 4.0, "contrast": 0.3, "brightness": 0.15}
DENSE = {"architecture": "residual", "views": 2} | SGD | SMOOTH | SPLIT
DENSE |= {"rotation": 0.0, "zoom": 0.0, "shift": 2.0}
DRAWN = {"architecture": "narrow", "epochs": 50, "batch": 64, "learning_rate": 0.003}
DRAWN |= {"norm_momentum": 0.9, "rotation": 5.0, "zoom": 0.1, "shift": 2.0}
DRAWN |= {"contrast": 0.2, "brightness": 0.1}
RECIPES = {
    "original": {"cnn": {}, "dnn": {}},
    "clipped": {"dnn": {"loss": "clipped"}},
    "modern": {"cnn": MODERN, "dnn": DENSE},
    "mild": {"cnn": MILD},
    # On an eighth more faces: once nothing is left to choose, PublicTest can be learned from. The
    # ensemble has networks of this and of "mild", as two recipes share fewer mistakes than one.
    "combined": {"cnn": MODERN | {"public": True}},
    # For a clock: the original's held-out accuracy, on as random a split, in a minute of a GPU.
    "fast": {"cnn": MILD | TENTH | {"epochs": 130, "together": False}},
    # For the drawn faces of the page "Try your face": a small CNN, in an hour of two busy cores.
    "drawn": {"cnn": SMOOTH | TENTH | DRAWN},
}

# What each ingredient gives: a shorter "mild" CNN or "modern" DNN without it, and one with all.
BASE = {"cnn": MILD | TENTH | {"epochs": 30}, "dnn": DENSE | TENTH | {"epochs": 100}}
PLAIN = dict.fromkeys(("rotation", "shear", "zoom", "shift", "contrast", "brightness"), 0.0)
EITHER = {"nothing": {}, "distortion": PLAIN | {"flip": False}, "flip": {"flip": False}}
EITHER |= {"smoothing": {"smoothing": 0.0}, "views": {"views": 1}}
CNN = {"schedule": {"schedule": "constant"}, "adam": SGD | {"batch": 512, "learning_rate": 0.2}}
CNN |= {"precise": {"precise_norm": False}}
DNN = {"schedule": {"schedule": "constant", "learning_rate": 0.03}}
DNN |= {"momentum": {"optimizer": "adam", "learning_rate": 0.001, "weight_decay": 0.0}}
DNN |= {"decay": {"weight_decay": 0.0}, "residual": {"architecture": "original"}}
WITHOUT = {"cnn": EITHER | CNN, "dnn": EITHER | DNN}
RECIPES |= {
    f"without-{what}": {n: BASE[n] | WITHOUT[n][what] for n in BASE if what in WITHOUT[n]}
    for what in WITHOUT["cnn"] | WITHOUT["dnn"]
}

# What else was tried at full length: "modern" with another optimizer or with AdamW's decay.
WITH = {"sgd": SGD | {"batch": 512}, "decay": {"weight_decay": 0.02}}
# And candidates for the next "modern"; "next" learns from PublicTest too: tests/experiments.py.
NEXT = {"ema": {"ema": 0.999}, "mixup": {"mixup": 0.2}, "both": {"ema": 0.999, "mixup": 0.2}}
NEXT |= {"long": WITH["sgd"] | {"mixup": 1.0, "epochs": 300}}
RECIPES |= {f"with-{what}": {"cnn": MODERN | changes} for what, changes in (WITH | NEXT).items()}
RECIPES |= {f"next-{w}": {"cnn": MODERN | NEXT[w] | {"public": True}} for w in NEXT}

# A CPU trains the DNN about 30 times faster than the CNN, so the DNN has more epochs. What suits
# 200 epochs does not suit 3: averages over 100 steps would lag behind weights that change fast,
# distorted faces take longer to learn, while a rate that falls to zero lets few steps settle.
LITTLE = PLAIN | {"norm_momentum": 0.9, "schedule": "cosine", "views": 1, "tests": False}
LITTLE |= {"dtype": "float32"}
SMOKE = LITTLE | {"train_cap": 450, "held_out_cap": 150}
QUICK = LITTLE | {"train_cap": 900, "held_out_cap": 400}
PROFILES = {
    "smoke": {"cnn": SMOKE | {"epochs": 2, "batch": 10}, "dnn": SMOKE | {"epochs": 3, "batch": 50}},
    "quick": {"cnn": QUICK | {"epochs": 3, "batch": 20}, "dnn": QUICK | {"epochs": 6, "batch": 50}},
    "cpu": {"cnn": {"epochs": 40}, "dnn": {"epochs": 100}},  # all of FER2013, in hours of two cores
    "full": {"cnn": {}, "dnn": {}},
}


def recipe(network: str, profile: str = "quick", name: str = "original", **changes) -> Recipe:
    """Return the recipe of that name for "cnn" or "dnn" under a profile, fields changed by keyword.

    Raises ValueError for what is unknown or not for that network, TypeError for an unknown field.
    """
    for value, known, what in ((profile, PROFILES, "profile"), (name, RECIPES, "recipe")):
        if value not in known:
            raise ValueError(f"{what} {value!r} is unknown: choose one of {', '.join(known)}")
    if network not in RECIPES[name]:
        has = ", ".join(RECIPES[name])
        raise ValueError(f"recipe {name!r} is not for network {network!r}: it has {has}")
    settings = RECIPES[name][network] | PROFILES[profile][network] | changes
    made = replace(Recipe(name=name, profile=profile), **settings)
    other = {"residual": "dnn", "narrow": "cnn"}.get(made.architecture, network)
    if network != other:
        where = f"is not for network {network!r}: only the {other} has it"
        raise ValueError(f"architecture {made.architecture!r} {where}")
    return made


def own(network: str, profile: str = "quick", **changes) -> Recipe:
    """Return the `recipe` of an own training; keywords are stronger than what CHANGES says."""
    theirs = dict(map(change, os.environ.get(CHANGES, "").split()))
    return recipe(network, profile, **theirs | changes)


def change(text: str) -> tuple[str, object]:
    """Return field and value of a change that a person typed, as "epochs=5"; raises ValueError."""
    name, equals, value = text.partition("=")
    known = [f.name for f in fields(Recipe) if f.name not in ("name", "profile", "seed")]
    if not equals or name not in known:
        todo = f"write field=value with one of {', '.join(known)}"
        raise ValueError(f"{text!r} changes no field of a recipe: {todo}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return name, value  # a word, such as sgd, or odd text
