"""The strict reader of image folders, and any picture as a face."""

import hashlib
import io
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hw3.sources.errors import bad, name, one_line, quoted
from hw3.sources.fer2013 import SIDE


def picture(path: Path, crop: str | None = None) -> np.ndarray:
    """Return a picture's square, X,Y,SIZE or the middle, upright, gray (48, 48); or FacesError."""
    with one_line(path), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = ImageOps.exif_transpose(Image.open(file))
            if image.mode.startswith("I;16"):  # 16 bits a pixel
                image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            if image.mode in "IF":
                raise ValueError("32 bits a pixel, of which nothing says what is white")
            image = image.convert("RGBA")
            black = Image.new("RGBA", image.size, "black")
            image = Image.alpha_composite(black, image).convert("L")  # as a browser does
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            most = f"over {Image.MAX_IMAGE_PIXELS:,} pixels"
            raise bad(name(path), most, "fewer", "shrink it") from None
        except Exception:  # as in _read_one
            expected = "a PNG, JPEG or another format of Pillow's, of 8 or 16 bits"
            raise bad(name(path), "no readable picture", expected, "convert it") from None
    if crop:
        x, y, side = map(int, crop.split(",")) if re.fullmatch(r"\d+,\d+,\d+", crop) else (0, 0, 0)
        if not 0 < side <= min(image.width - x, image.height - y):
            found = f"{quoted(crop)} for {image.width}x{image.height} pixels"
            raise bad(name(path), found, "X,Y,SIZE of a square inside", "correct --crop")
        image = image.crop((x, y, x + side, y + side))
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE)))


def read(files) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, labels and part of image files, given as (path, part, label)."""
    canvas = Image.new("L", (SIDE, SIDE * len(files)))  # quicker than an array of each image
    for i, (path, _, _) in enumerate(files):
        canvas.paste(_read_one(path), (0, SIDE * i))
    part, labels = np.array([file[1:] for file in files], np.uint8).T.copy()
    return np.asarray(canvas).reshape(-1, SIDE, SIDE), labels, part


def _read_one(path):
    """Return an image as Pillow's 8-bit gray; one with colors only if all are gray and opaque."""
    with path.open("rb") as file:
        data = file.read(100_000)  # far more than 48 x 48 pixels need
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.size == (SIDE, SIDE):  # else nothing is decoded
            image.load()
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and others
        raise bad(name(path, 3), "no readable image", "a PNG or JPEG", "copy it anew") from None
    mode = "16-bit" if image.format == "PNG" and data[24] == 16 else image.mode
    found = f"{image.width}x{image.height} {mode}"
    if image.size == (SIDE, SIDE) and mode in ("P", "LA", "RGB", "RGBA"):
        red, green, blue, alpha = image.convert("RGBA").split()
        if red == green == blue and alpha.getextrema() == (255, 255):
            return red
        found += " with colors or transparency"
    if found != "48x48 L":
        folder = shlex.quote(str(Path(str(path)).parents[2]))
        to_do = f"run python -m hw3 data --data {folder} --resize, or move it away"
        raise bad(name(path, 3), found, "48x48 L (8-bit gray)", to_do)
    return image


def identical(images: np.ndarray) -> np.ndarray:
    """Return a number (N,) for each of the images (N, 48, 48), the same for equal ones."""
    prints = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    return np.unique(prints, return_inverse=True)[1]
