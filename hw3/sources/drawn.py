"""The drawn faces: the project's own, made from numbers, for where FER2013 may not go.

An expression is a set of action units (AU), the muscle movements of the Facial Action Coding
System: Ekman & Friesen (1978), Consulting Psychologists Press; second edition by Ekman, Friesen &
Hager (2002), Research Nexus. How far a unit moves a line here is judged by eye. Nothing learned
from these faces says anything about people. beyond/demo.py turns _soft to _mouth into JavaScript.

A face's x grows to the right, y down, in pixels at scale 1, from the middle of the head. Shapes are
soft signed distances (negative inside), laid over an albedo (the gray of each material).
"""

from types import SimpleNamespace

import numpy as np

from hw3.sources.fer2013 import COUNTS, NEUTRAL
from hw3.sources.fer2013 import SIDE as SIZE  # as try.js calls it

BLOCK = 64  # faces at once: few enough for the cache, many enough to hide the cost of NumPy's calls
UNITS = {1: "inner brow raiser", 2: "outer brow raiser", 4: "brow lowerer", 5: "upper lid raiser"}
UNITS |= {6: "cheek raiser", 7: "lid tightener", 9: "nose wrinkler", 12: "lip corner puller"}
UNITS |= {15: "lip corner depressor", 16: "lower lip depressor", 20: "lip stretcher"}
UNITS |= {23: "lip tightener", 26: "jaw drop"}
ANGER, FEAR = (4, 5, 7, 23), (1, 2, 4, 5, 7, 20, 26)
EXPRESSIONS = (ANGER, (9, 15, 16), FEAR, (6, 12), (1, 4, 15), (1, 2, 5, 26), ())  # by emotion
# What differs between pictures apart from the expression: (low, high), uniform. Pixels of the face,
# the sine of turn (15 degrees at most), grays from 0 to 1. A low below 0: only some have it.
# pose in the picture's plane and out of it (features slide, the far eye narrows), and light
TRAITS = {"shift_x": (-4, 4), "shift_y": (-4, 4), "scale": (0.95, 1.2), "turn": (-0.26, 0.26)}
TRAITS |= {"yaw": (-1, 1), "pitch": (-1, 1), "light_x": (-0.9, 0.9), "light_y": (-0.8, 0.3)}
TRAITS |= {"contrast": (0.75, 1.15), "brightness": (-0.08, 0.06), "blur": (-0.15, 0.18)}
TRAITS |= {"noise": (0.01, 0.1), "backdrop": (0.05, 0.95), "backdrop_x": (-0.5, 0.5)}
TRAITS |= {"backdrop_y": (-0.25, 0.25)}
# the hand in front of one face in ten, the head, the hair
TRAITS |= {"cover": (-9, 1), "cover_cos": (-1, 1), "cover_reach": (4, 15), "cover_off": (-14, 14)}
TRAITS |= {"skin": (0.45, 0.8), "head_w": (15, 18), "head_h": (19.5, 22.5), "jaw": (0.1, 0.35)}
TRAITS |= {"neck": (8, 12), "hair": (0.04, 0.6), "hairline": (-19, -13.5), "parting": (-0.36, 0.36)}
TRAITS |= {"temples": (2, 14), "hair_long": (-0.6, 1), "stubble": (-0.6, 0.35)}
TRAITS |= {"moustache": (-1.5, 0.5), "glasses": (-5, 1)}
# features at rest: no two neutral faces are alike; mouth_bend: corners down is positive
TRAITS |= {"eye_x": (6.9, 8.3), "eye_w": (3.7, 4.6), "eye_h": (1.7, 2.5), "eye_low": (1, 1.5)}
TRAITS |= {"iris": (0.1, 0.4), "gaze": (-1, 1), "bags": (0, 0.2), "brow_y": (-5.8, -4.4)}
TRAITS |= {"brow_slope": (-0.7, 0.7), "brow_arch": (0.2, 1.3), "brow_thick": (0.7, 1.5)}
TRAITS |= {"furrow": (-0.15, 0.2), "nose_w": (2.6, 3.8), "nose_dark": (0.05, 0.22)}
TRAITS |= {"mouth_y": (10.2, 12), "mouth_w": (6.3, 7.7), "mouth_bend": (-0.8, 0.8)}
TRAITS |= {"lip_up": (0.8, 1.5), "lip_low": (1.2, 2.1), "lip_dark": (0.15, 0.4)}
TRAITS |= {"parted": (-0.8, 0.5), "smile_open": (0.15, 1), "lopsided": (-0.25, 0.25)}


def draw(n, seed=0, labels=None, intensity=None, units=None):
    """Return images uint8 (n, 48, 48), labels uint8 (n,), intensity float32 (n,), 0 for Neutral.

    The first m faces of a seed are draw(m, seed); face i keeps its identity, whatever is forced.
    labels: emotion codes, one for all or one a face; without them, with FER2013's frequencies.
    intensity: 0 (neutral) to 1 (full), also one for all; without it, from faint to full. units:
    (13,) or (n, 13) in the order of UNITS, 0 to 1, in place of the label's. Raises ValueError.
    """
    if not isinstance(n, int | np.integer) or n < 0:
        raise ValueError(f"n must be a whole number of faces, at least 0, not {n!r}")
    labels = _fit("labels", labels, (n,), NEUTRAL, step=1)
    intensity = _fit("intensity", intensity, (n,), 1)
    units = _fit("units", units, (n, len(UNITS)), 1)
    np.empty(16 << 20, np.uint8)  # freed at once, it makes glibc keep memory: faster by a half
    images = np.empty((n, SIZE, SIZE), np.uint8)
    kinds, forces = np.empty(n, np.uint8), np.empty(n, np.float32)
    shares = np.cumsum(COUNTS) / sum(COUNTS)
    low, high = np.array(list(TRAITS.values()), np.float32).T[:, :, None]
    for start in range(0, n, BLOCK):
        block, m = slice(start, start + BLOCK), min(BLOCK, n - start)
        # a block's own generator draws for all its faces, the noise last, however few are wanted
        rng = np.random.default_rng([seed, start // BLOCK])
        traits = low + (high - low) * rng.random((len(TRAITS), BLOCK), np.float32)[:, :m]
        mood, strength, *jitter = rng.random((2 + len(UNITS), BLOCK))[:, :m]
        kind = shares.searchsorted(mood, "right") if labels is None else labels[block].astype(int)
        force = 1 - 0.8 * strength**2 if intensity is None else intensity[block]
        force = force * (kind != NEUTRAL)
        varied = activations(kind, force) * (0.75 + 0.25 * np.transpose(jitter))
        active = varied if units is None else units[block]
        t = SimpleNamespace(**dict(zip(TRAITS, traits[:, :, None, None], strict=True)))
        au = dict(zip(UNITS, active.T.astype(np.float32)[:, :, None, None], strict=True))
        images[block], kinds[block], forces[block] = _picture(t, au, rng), kind, force
    return images, kinds, forces


def activations(labels, intensity):
    """Return the action units (n, 13) of emotion codes (n,) at intensities 0 to 1, (n,) or one."""
    table = np.array([[unit in units for unit in UNITS] for units in EXPRESSIONS], np.float32)
    return table[np.asarray(labels)] * np.asarray(intensity, np.float32)[..., None]


def _fit(name, values, shape, high, step=0):
    """The values as an array of the shape; they must lie in [0, high] and on the steps."""
    if values is None:
        return None
    try:
        values = np.broadcast_to(np.asarray(values, np.float32), shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers of shape {shape}, or one for all") from None
    if not ((values >= 0) & (values <= high)).all() or (step and (values % step).any()):
        raise ValueError(f"{name} must be {'whole ' if step else ''}numbers from 0 to {high}")
    return values


def _soft(distance):
    """1 inside a shape (distance < 0), 0 outside, with an edge one pixel wide."""
    return np.clip(0.5 - distance, 0, 1)


def _line(distance, width):
    return _soft(np.abs(distance) - width / 2)


def _bump(x):
    """1 at 0, falling to 0 at -1 and 1."""
    return np.maximum(1 - x * x, 0)


def _over(picture, alpha, gray):
    """Lay a gray over the picture, in place."""
    picture += alpha * (gray - picture)


def _picture(t, au, rng):
    """The images, uint8 (m, 48, 48), of faces with traits t and action units au, each (m, 1, 1)."""
    cos, sin = np.sqrt(1 - t.turn * t.turn), t.turn
    middle_x, middle_y = SIZE / 2 - 0.5 + t.shift_x, SIZE / 2 + t.shift_y
    rows, columns = np.arange(SIZE, dtype=np.float32)[:, None], np.arange(SIZE, dtype=np.float32)

    def face_at(rows, columns, x=0, y=0):
        """Face coordinates of pixels, seen from the point (x, y) of the face."""
        across, down = (columns - middle_x) / t.scale, (rows - middle_y) / t.scale
        return (cos * across - x) + sin * down, (cos * down - y) - sin * across

    def feature(paint, x, y, height, width, *more):
        """Paint around (x, y) in a window of the picture: most of a face is not mouth."""
        row = np.rint(middle_y + t.scale * (cos * y + sin * x) - height / 2).clip(0, SIZE - height)
        column = np.rint(middle_x + t.scale * (cos * x - sin * y) - width / 2).clip(0, SIZE - width)
        inside = (rows[:height] * SIZE + columns[:width]).astype(int)
        where = (first + row * SIZE + column).astype(int) + inside
        window = pixels[where]
        paint(t, au, window, *face_at(row + rows[:height], column + columns[:width], x, y), *more)
        pixels[where] = window

    picture, light = _head(t, au, *face_at(rows, columns))
    pixels, first = picture.reshape(-1), np.arange(0, picture.size, SIZE * SIZE)[:, None, None]
    _features(t, au, feature)
    return _photograph(t, picture * light, rng)


def _features(t, au, feature):
    """Say to feature(paint, x, y, height, width, *more) what to paint where on the head."""
    slide_x, slide_y = 2.5 * t.yaw, 1.5 * t.pitch
    feature(_nose, 1.4 * slide_x, 4 + 1.4 * slide_y, 28, 20)
    for side in (-1, 1):
        feature(_eye, side * t.eye_x + slide_x, slide_y - 3.5, 22, 22, side)
    feature(_mouth, slide_x, t.mouth_y + slide_y + 1.3 * au[26], 26, 28)


def _head(t, au, u, v):
    """The albedo of backdrop, hair, neck and bare head, and the light that falls on each pixel."""
    picture = t.backdrop + (t.backdrop_x / SIZE) * u + (t.backdrop_y / SIZE) * v
    wide = np.abs(u)
    # Below the middle the head narrows to the jaw, and is longer when the jaw drops (AU26).
    tall = v / t.head_h - np.maximum(v, 0) * (0.12 * au[26] / t.head_h)
    lean = u / (t.head_w - (t.jaw * t.head_w) * np.maximum(tall, 0) ** 2)
    radius2 = lean * lean + tall * tall
    edge = (np.sqrt(radius2) - 1) * t.head_w
    behind = (wide / (t.head_w + 3)) ** 2 + (np.minimum(v + 2, 0) / (t.head_h + 1)) ** 2
    locks = _soft((behind - 1) * 8) * (t.hair_long > 0) * _soft(v - 26 * t.hair_long)
    _over(picture, locks, t.hair * 0.8)
    _over(picture, _soft(wide - t.neck) * _soft(12 - v), t.skin * 0.72)
    ear = ((wide - t.head_w + 0.5) / 2.4) ** 2 + ((v + 1) / 4.2) ** 2
    _over(picture, _soft((ear - 1) * 1.5) * (t.hair_long <= 0.3), t.skin * 0.85)
    head, beard = _soft(edge), np.clip(v / 8 - 0.5, 0, 1) * np.maximum(t.stubble, 0)
    _over(picture, head, t.skin - t.skin * beard)
    receding = t.temples * np.maximum(radius2 - 0.6, 0)
    cap = _soft(edge - 1.3) * _soft(v - t.hairline - t.parting * u - receding)
    gloss = 0.85 + 0.6 * _bump(2 * (lean - 0.5 * t.light_x)) * _bump((v + 17) / 5)
    _over(picture, cap, t.hair * gloss)
    rest = np.sqrt(np.maximum(1 - 0.9 * radius2, 0))  # (lean, tall, rest) is normal to an ellipsoid
    light = lean * (0.42 * t.light_x) + tall * (0.42 * t.light_y) + 0.5 * rest - 0.3  # Lambert
    return picture, 1 + np.maximum(head, cap) * light


def _nose(t, au, picture, x, y):
    """The nose, around its tip, and the furrows above it between the brows."""
    wide, shadow = np.abs(x), np.copysign(1.8, -t.light_x)  # it shades its side away from the light
    raised, wing = y + 1.1 * au[9], t.nose_w + 0.6 * au[9] + 0.3 * au[12]
    dark = t.nose_dark * _bump((x - shadow) / 1.8) * _bump((y + 3.5) / 6)
    dark -= 0.14 * _bump(x / 1.7) * _bump((y + 2) / 5)
    dark += 0.5 * _bump((wide - 0.55 * wing) / 1.1) * _bump((raised - 1.2) / 1.1)
    dark += 0.3 * _bump((wide - wing) / 0.9) * _bump(raised / 2)
    dark += (0.5 * au[9]) * _bump(wide / 4) * _line(np.abs(y - 0.5 * wide + 5.3) - 1.2, 0.6)
    furrow = np.clip(t.furrow + 0.45 * au[4], 0, 1)  # between the brows
    dark += furrow * _bump((wide - 1.4) / 0.9) * _bump((y + 11.5) / 3)
    picture *= 1 - dark


def _eye(t, au, picture, x, y, side):
    """An eye and its brow, around the eye, left (side -1) or right (1) in the picture."""
    x = x * side  # grows away from the nose
    far, tilt = 1 - 0.14 * t.yaw * side, 1 + t.lopsided * side
    along = x / (t.eye_w * far)
    arch, ends = 1 - along * along, _soft((np.abs(along) - 1.1) * 3)
    upper = t.eye_h + 1.7 * au[5] - 0.5 * au[7] - 0.3 * au[6] - 0.6 * au[9] - 0.3 * au[4]
    lower = t.eye_low - 0.7 * au[7] - 0.9 * au[6] - 0.6 * au[9]
    top = (0.6 * au[1]) * along - np.maximum(upper, 0.5) * arch  # its inner end follows the brow
    bottom = np.maximum(lower, 0.1) * arch
    dark = 0.16 * _bump(x / 7) * _bump((y + 2.5) / 3.5)  # the hollow
    pouch = t.bags + 0.4 * au[6] + 0.25 * au[7]
    dark += pouch * _line(y - bottom - 1.5 + 0.6 * au[6], 0.8) * _bump(along / 1.2)
    feet = _line(np.abs(y) - 0.6 * t.eye_w * (along - 1), 0.4)  # the crow's
    dark += (0.4 * au[6]) * _bump(2 * along - 3) * feet
    dark += 0.25 * _line(y - top + 1.6 - 0.5 * au[5], 0.5) * _bump(along / 1.3)  # the lid's crease
    dark -= (0.15 * au[6]) * _bump(x / 5) * _bump((y - 5.5) / 2.5)
    picture *= 1 - dark
    ball = np.sqrt((x - side * t.gaze) ** 2 + (y + 0.4) ** 2)
    eye = 0.9 - 0.15 * _soft(y - top - 1)  # the white; then iris, pupil, lashes
    _over(eye, _soft(ball - 2.1), t.iris)
    _over(eye, _soft(ball - 0.8), 0.04)
    _over(picture, _soft(np.maximum(top - y, y - bottom)), eye)
    _over(picture, _line(y - top, 0.9) * ends, 0.08)
    # The brow, b from -1 (inner end) to 1 (outer end); wrinkles of the forehead over a raised one.
    b = np.clip((x - 0.4 + 1.3 * au[4]) / (5.6 * far), -1.3, 1.3)
    inner = (0.5 - 0.5 * b) ** 2
    lowered = 1.9 * au[4] * (1 - np.maximum(au[1], au[2]))
    up = (3.2 * au[1] - lowered) * inner + (1.3 * tilt * au[2]) * (1 + b) - 1.1 * au[4]
    brow = y - (t.brow_y + 0.7 * au[9] - 0.25 * tilt) - t.brow_slope * b + up
    brow += (t.brow_arch + 0.7 * au[2]) * (1 - b * b)
    hairs = _line(brow, t.brow_thick * (1.15 - 0.4 * b)) * _soft((np.abs(b) - 1) * 5)
    _over(picture, hairs, np.minimum(t.hair / 2, t.skin / 3))
    wrinkles = np.maximum((0.3 * au[1]) * inner, 0.25 * au[2])
    picture *= 1 - wrinkles * _line(brow + 2.9, 0.5) * _bump(b)
    rim = np.abs(np.sqrt((x / 6.2) ** 2 + ((y - 0.4) / 5) ** 2) - 1) * 5.5 - 0.35  # of glasses
    bars = np.maximum(np.abs(y + 0.6) - 0.2, 6 - np.abs(x))  # to the nose and to the ear
    _over(picture, _soft(np.minimum(rim, bars)) * (t.glasses > 0), t.hair * 0.5)


def _mouth(t, au, picture, x, y):
    """The mouth, around its middle, and the folds beside it."""
    wide = t.mouth_w + 1.6 * au[12] + 1.8 * au[20] - 1.2 * au[23] - 2.4 * au[26] * (1 - au[20])
    along2 = (x / wide) ** 2
    arch, ends = 1 - along2, _soft((along2 - 1) * 3)
    corners = (3.4 * au[15] - 4.2 * au[12]) * (1 + t.lopsided * np.sign(x))
    bend = t.mouth_bend * (1 - 0.7 * au[26]) + 0.5 * au[20] + corners
    y = y - bend * (np.minimum(along2, 1.4) - 0.35) + 0.7 * au[9]
    # Half the opening above and below where closed lips meet; a stretched mouth opens as a box.
    rest = np.maximum(t.parted, 0) * (1 - au[23])
    smile, tall = au[12] * t.smile_open, au[26] * (1 - 0.4 * au[20])
    box = arch * (1 + np.maximum(au[20], 0.7 * au[26]) * along2)
    top = -(rest + 0.8 * smile + 2.6 * tall + 0.5 * au[9]) * box
    bottom = (rest + 2.3 * smile + 3.7 * tall + 1.9 * au[16] + 0.4 * au[20]) * box
    thin = 1 - 0.65 * au[23] - 0.25 * au[20] - 0.25 * au[12]
    lips_top, lips_bottom = top - (t.lip_up * thin) * arch, bottom + (t.lip_low * thin) * arch
    fold = _line(np.abs(x) - 4.2 - 0.55 * np.clip(y + 7, 0, 9) - 0.8 * au[12], 0.9)
    deep = 0.05 + 0.3 * au[12] + 0.32 * au[9] + 0.12 * au[20]
    dark = deep * fold * _bump((y + 3.2) / 4.5)  # the folds from the nose past the corners
    dark += np.maximum(t.moustache, 0) * _bump(x / 7.5) * _bump((y + 3.3) / 1.8)
    below = _bump((y - lips_bottom - 1.2) / 1.6)  # the shadow of the lower lip
    dark += (0.22 + 0.15 * au[15]) * np.maximum(1 - 2 * along2, 0) * below
    picture *= 1 - dark
    # Lips, the dark between them, the teeth that a smile shows above and a lowered lip below.
    _over(picture, _soft(np.maximum(lips_top - y, y - lips_bottom)), t.skin * (1 - t.lip_dark))
    hole = _soft(np.maximum(top - y, y - bottom)) * ends
    upper = _soft(y - top - 2.4 * smile - 0.8 * tall)
    teeth = np.maximum(upper, _soft(bottom - y - 1.4 * au[16] - 0.6 * au[20]))
    white = np.clip(2 * (smile + au[16] + 0.5 * tall), 0, 1)
    _over(picture, hole, 0.07 + (0.72 * white) * teeth * _soft((along2 - 0.7) * 4))
    closed = _line(y - np.maximum(top, -0.4), 0.6 + 0.3 * au[23])
    _over(picture, (0.7 + 0.3 * au[23]) * closed * ends, 0.1)


def _photograph(t, picture, rng):
    """What a camera adds: a hand in front of some faces, contrast, blur, noise, and eight bits."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) - (SIZE / 2 - 0.5)
    cos, sin = t.cover_cos, np.copysign(np.sqrt(1 - t.cover_cos * t.cover_cos), t.cover_off)
    across = cos * y - sin * x - t.cover_off
    finger = np.abs(across - 5 * np.rint(across / 5))  # from the middle of the nearest of three
    tip = t.cover_reach - cos * x - sin * y + 0.25 * finger * finger + 0.06 * across * across
    hand = (t.cover > 0) * _soft(tip) * _soft(np.abs(across) - 7.5)
    _over(picture, hand, t.skin * (1 - 0.06 * finger * finger))
    blur = np.maximum(t.blur, 0)
    picture[:, 1:-1] += blur * (picture[:, 2:] + picture[:, :-2] - 2 * picture[:, 1:-1])
    picture[:, :, 1:-1] += blur * (picture[:, :, 2:] + picture[:, :, :-2] - 2 * picture[:, :, 1:-1])
    exposed = 0.48 + t.brightness + t.contrast * (picture - 0.48)
    exposed = exposed + t.noise * (rng.random(picture.shape, np.float32) - 0.5)
    return np.clip(255 * exposed + 0.5, 0, 255).astype(np.uint8)
