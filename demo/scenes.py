"""Captioned scenes of the demo dataset: one to three objects over a natural background.

A scene is a small description drawn from (seed, stream, index); it can be rendered at any size and captioned.
The simulated subjects' stimuli and the training images of the demo's models come from different streams,
so no model ever saw a stimulus.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

IMAGES = Path(__file__).parent / "images"
COLOURS = {
    "red": (205, 92, 86),
    "orange": (226, 158, 94),
    "yellow": (232, 208, 122),
    "green": (134, 178, 124),
    "blue": (118, 156, 206),
    "purple": (160, 132, 190),
    "pink": (226, 164, 178),
    "grey": (172, 172, 176),
    "white": (236, 232, 224),
    "brown": (158, 124, 98),
}
BACKGROUNDS = (
    "meadow",
    "sea",
    "beach",
    "street",
    "room",
    "snow",
    "night",
    "desert",
    "forest",
    "sunset",
    "underwater",
    "table",
)
COLOURED = {"room": "a room with {} walls", "table": "a {} table", "street": "a street with {} houses"}
PLACES = {
    "meadow": "a green meadow under a blue sky",
    "sea": "the open sea",
    "beach": "a sandy beach",
    "snow": "a snowy mountain",
    "night": "a dark night with stars",
    "desert": "a dry desert",
    "forest": "a dense forest",
    "sunset": "a red sunset",
    "underwater": "the deep blue water",
}


@dataclass(frozen=True)
class Thing:
    """One kind of object: its image file, its name in captions, its category, and whether subjects see it."""

    image: str
    name: str
    category: str
    shown: str


@dataclass(frozen=True)
class Placed:
    """An object in a scene; x, y (centre) and size are fractions of the image's side."""

    thing: int
    x: float
    y: float
    size: float
    flip: bool
    brightness: float
    saturation: float


@dataclass(frozen=True)
class Scene:
    """A background with its colour and texture seed, and the objects from left to right."""

    background: str
    colour: str
    texture: int
    objects: tuple[Placed, ...]


@cache
def things() -> tuple[Thing, ...]:
    """Every object of the demo dataset, in the order of objects.tsv."""
    with (IMAGES / "objects.tsv").open(encoding="utf-8") as table:
        return tuple(Thing(**row) for row in csv.DictReader(table, delimiter="\t"))


@cache
def shown_things() -> tuple[int, ...]:
    """The things that the subjects' stimuli show, numbered as in things()."""
    return tuple(i for i, thing in enumerate(things()) if thing.shown == "yes")


@cache
def _image(index: int) -> Image.Image:
    with Image.open(IMAGES / things()[index].image) as image:
        return image.convert("RGBA")


def rng(seed: int, stream: str, index: int) -> np.random.Generator:
    """Generator of one scene, independent of every other (seed, stream, index)."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{index}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def sample(random: np.random.Generator, among: Sequence[int] | None = None) -> Scene:
    """Draw a scene of one (13 in 20), two (5) or three objects (2), of the things shown or of those in among."""
    among = shown_things() if among is None else among
    count = random.choice([1, 2, 3], p=[0.65, 0.25, 0.1])
    low, high = {1: (0.55, 0.85), 2: (0.4, 0.54), 3: (0.3, 0.38)}[count]
    columns = {1: [0.5], 2: [0.27, 0.73], 3: [0.18, 0.5, 0.82]}[count]
    spread = {1: 0.14, 2: 0.05, 3: 0.03}[count]
    objects = []
    for column in columns:
        size = random.uniform(low, high)
        margin = size / 2
        objects.append(
            Placed(
                thing=int(random.choice(among)),
                x=column + random.uniform(-spread, spread),
                y=random.uniform(max(margin, 0.38), min(1 - margin, 0.72)),
                size=size,
                flip=bool(random.random() < 0.5),
                brightness=random.uniform(0.88, 1.12),
                saturation=random.uniform(0.85, 1.15),
            )
        )
    background = str(random.choice(BACKGROUNDS))
    colour = str(random.choice(list(COLOURS)))
    return Scene(background, colour, int(random.integers(2**31)), tuple(objects))


def captions(scene: Scene, random: np.random.Generator) -> list[str]:
    """Five captions that say what is where, in different words."""
    place = (
        COLOURED[scene.background].format(scene.colour) if scene.background in COLOURED else PLACES[scene.background]
    )
    on = "on" if scene.background == "table" else "in front of" if scene.background in ("room", "sunset") else "in"
    names = [things()[o.thing].name for o in scene.objects]
    sides = {1: ["in the middle"], 2: ["on the left", "on the right"]}.get(
        len(names), ["on the left", "in the middle", "on the right"]
    )
    height = ["high up" if o.y < 0.48 else "low down" if o.y > 0.62 else "" for o in scene.objects]
    size = ["big " if o.size > 0.62 else "small " if o.size < 0.42 else "" for o in scene.objects]
    listed = _join([_article(name) for name in names])
    full = _join([_article(s + name) for s, name in zip(size, names, strict=True)])
    placed = _join([f"{_article(name)} {side}" for name, side in zip(names, sides, strict=True)])
    upright = _join([f"{_article(name)} {h}".strip() for name, h in zip(names, height, strict=True)])
    category = _join([_article(things()[o.thing].category) for o in scene.objects])
    texts = [
        f"{listed} {on} {place}",
        f"{place} with {placed}",
        f"a picture of {full} {on} {place}",
        f"there is {upright} {on} {place}",
        f"{category}: {listed}, {place}" if random.random() < 0.5 else f"{placed}, {on} {place}",
    ]
    return [texts[i] for i in random.permutation(5)]


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def render(scene: Scene, size: int) -> np.ndarray:
    """The image of a scene, uint8 (size, size, 3)."""
    canvas = Image.fromarray(_background(scene, size))
    for placed in scene.objects:
        _shadow(canvas, placed, scene.background)
        sprite, left, top = _sprite(placed, size)
        canvas.paste(sprite, (left, top), sprite)
    return np.asarray(canvas)


def label_map(scene: Scene, size: int) -> np.ndarray:
    """Which object covers each cell, int16 (size, size): 0 = background, k = thing k - 1."""
    side = size * 8
    labels = Image.new("I", (side, side), 0)
    for placed in scene.objects:
        sprite, left, top = _sprite(placed, side)
        labels.paste(placed.thing + 1, (left, top), sprite.getchannel("A").point(lambda a: 255 * (a > 127)))
    return np.asarray(labels, dtype=np.int16)[4::8, 4::8]


def coverage(scene: Scene) -> dict[str, float]:
    """Category -> fraction of the image covered by its objects' boxes."""
    area: dict[str, float] = {}
    for placed in scene.objects:
        category = things()[placed.thing].category
        area[category] = area.get(category, 0.0) + placed.size**2
    return area


def _sprite(placed: Placed, size: int) -> tuple[Image.Image, int, int]:
    """The object's image at its size, and where its top left corner goes."""
    side = max(2, round(placed.size * size))
    sprite = _image(placed.thing).resize((side, side), Image.Resampling.BILINEAR)
    if placed.flip and things()[placed.thing].category != "sign":
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    alpha = sprite.getchannel("A")
    sprite = ImageEnhance.Brightness(sprite.convert("RGB")).enhance(placed.brightness)
    sprite = ImageEnhance.Color(sprite).enhance(placed.saturation)
    sprite.putalpha(alpha)
    return sprite, round(placed.x * size - side / 2), round(placed.y * size - side / 2)


def _shadow(canvas: Image.Image, placed: Placed, background: str) -> None:
    """Darken the ground under an object, in place; nothing casts a shadow in the air, at night or under water."""
    if background in ("night", "underwater", "sunset", "sea"):
        return
    size = canvas.width
    width, height = round(placed.size * size * 0.8), max(1, round(placed.size * size * 0.14))
    left, top = round(placed.x * size - width / 2), round((placed.y + 0.46 * placed.size) * size - height / 2)
    y, x = np.mgrid[0:height, 0:width]
    inside = ((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2
    alpha = Image.fromarray(np.uint8(90 * np.clip(1 - inside, 0, 1)))
    canvas.paste((20, 20, 30), (left, top), alpha)


def _background(scene: Scene, size: int) -> np.ndarray:
    random = np.random.default_rng(scene.texture)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    image = _PAINTERS[scene.background](random, x, y, np.array(COLOURS[scene.colour], dtype=np.float32))
    jitter = random.uniform(0.92, 1.08, 3).astype(np.float32)
    return np.clip(image * jitter, 0, 255).astype(np.uint8)


def _clouds(random: np.random.Generator, size: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Smooth noise in [0, 1], float32 (size, size), the same pattern at every size."""
    total, weight = np.zeros((size, size), np.float32), 0.0
    for octave in range(octaves):
        grid = random.random((cells * 2**octave + 1,) * 2, dtype=np.float32)
        image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(image) * 0.5**octave
        weight += 0.5**octave
    return np.clip(total / weight, 0, 1)


def _blend(low: np.ndarray | tuple, high: np.ndarray | tuple, amount: np.ndarray) -> np.ndarray:
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return low + (high - low) * np.clip(amount, 0, 1)[..., None]


def _ridge_line(random: np.random.Generator, x: np.ndarray, height: float, rough: float) -> np.ndarray:
    """Height (fraction from the top) of a wavy horizon at every x."""
    line = np.full_like(x, height)
    for k in (1, 2, 4, 7):
        line += rough / k * np.sin(2 * np.pi * (k * x * random.uniform(0.7, 1.3) + random.random()))
    return line


def _sky(random: np.random.Generator, y: np.ndarray, high: tuple, low: tuple, cloud: float) -> np.ndarray:
    sky = _blend(high, low, y / 0.6)
    return _blend(sky, np.full(3, 248.0), np.clip((_clouds(random, len(y), 3) - 0.52) * 4, 0, 1) * cloud)


def _over(image: np.ndarray, layer: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Layer where mask is above zero, with an edge one pixel soft; mask in fractions of the image."""
    alpha = np.clip(mask * size + 0.5, 0, 1)[..., None]
    return image + (layer - image) * alpha


def _box(x: float, y: float, reach: float, size: int) -> tuple[slice, slice]:
    """The pixels within reach (a fraction of the image) of a point, with a margin for a soft edge."""
    first = [max(0, int((centre - reach) * size) - 1) for centre in (y, x)]
    last = [int((centre + reach) * size) + 2 for centre in (y, x)]
    return slice(first[0], last[0]), slice(first[1], last[1])


def _meadow(random, x, y, colour):
    size, horizon = len(y), random.uniform(0.4, 0.6)
    sky = _sky(random, y, (84, 150, 226), (190, 222, 246), 0.9)
    hills = _blend((72, 132, 78), (104, 160, 96), _clouds(random, size, 4))
    grass = _blend((98, 170, 66), (56, 122, 44), (y - horizon) * 1.6 + 0.35 * _clouds(random, size, 9) - 0.15)
    image = _over(sky, hills, y - _ridge_line(random, x, horizon - 0.06, 0.03), size)
    return _over(image, grass, y - _ridge_line(random, x, horizon, 0.012), size)


def _sea(random, x, y, colour):
    size, horizon = len(y), random.uniform(0.3, 0.5)
    sky = _sky(random, y, (104, 172, 232), (206, 232, 246), 0.8)
    waves = 0.5 + 0.5 * np.sin(60 * np.clip(y - horizon, 0, None) ** 0.5 + 9 * _clouds(random, size, 4))
    water = _blend((30, 92, 156), (66, 142, 188), 0.6 * waves + 0.3 * (y - horizon))
    return _over(sky, water, y - horizon, size)


def _beach(random, x, y, colour):
    size, horizon = len(y), random.uniform(0.25, 0.38)
    image = _sky(random, y, (92, 176, 236), (214, 238, 248), 0.7)
    image = _over(image, _blend((40, 140, 180), (110, 204, 208), (y - horizon) * 5), y - horizon, size)
    shore = _ridge_line(random, x, horizon + random.uniform(0.14, 0.24), 0.03)
    image = _over(image, np.full(3, 244.0), y - shore + 0.015, size)
    sand = _blend((236, 212, 158), (206, 174, 118), (y - 0.5) + 0.5 * _clouds(random, size, 12) - 0.2)
    return _over(image, sand, y - shore, size)


def _street(random, x, y, colour):
    size, kerb = len(y), random.uniform(0.62, 0.7)
    image = _sky(random, y, (128, 176, 222), (216, 228, 238), 0.8)
    left = 0.0
    while left < 1:
        width, top = random.uniform(0.16, 0.3), random.uniform(0.08, 0.3)
        wall = colour * random.uniform(0.75, 1.1)
        inside = np.minimum(np.minimum(x - left, left + width - x), y - top)
        image = _over(image, np.broadcast_to(wall, image.shape), inside, size)
        u, v = np.mod((x - left) * 14, 1), np.mod((y - top) * 10, 1)
        pane = np.minimum(np.minimum(u - 0.3, 0.75 - u) / 14, np.minimum(v - 0.3, 0.75 - v) / 10)
        glass = np.broadcast_to(np.float32((74, 88, 112)), image.shape)
        image = _over(image, glass, np.minimum(pane, inside - 0.015), size)
        left += width
    image = _over(image, np.full(3, 176.0), y - kerb + 0.04, size)
    road = _blend((96, 96, 102), (74, 74, 82), (y - kerb) * 2 + 0.4 * _clouds(random, size, 14) - 0.2)
    image = _over(image, road, y - kerb, size)
    dash = np.minimum(0.012 - np.abs(y - (kerb + 0.17)), (np.mod(x * 4 + random.random(), 1) - 0.4) / 4)
    return _over(image, np.full(3, 232.0), dash, size)


def _room(random, x, y, colour):
    size, floor = len(y), random.uniform(0.6, 0.74)
    image = _blend(colour * 1.05, colour * 0.82, 0.6 * x + 0.4 * y)
    centre, half = random.choice([0.2, 0.8]) + random.uniform(-0.06, 0.06), random.uniform(0.1, 0.14)
    frame = np.minimum(half - np.abs(x - centre), 0.16 - np.abs(y - 0.26))
    image = _over(image, np.full(3, 246.0), frame, size)
    cross = np.minimum(np.minimum(np.abs(x - centre), np.abs(y - 0.26)) - 0.008, frame - 0.016)
    image = _over(image, _blend((150, 204, 244), (214, 236, 250), y * 2.4), cross, size)
    planks = np.mod(x * 7 + 0.8 * (y - floor) * (x - 0.5), 1)
    wood = _blend((168, 120, 78), (136, 92, 58), 0.5 * _clouds(random, size, 8) + 0.8 * (planks < 0.05))
    image = _over(image, wood, y - floor, size)
    return _over(image, np.full(3, 238.0), 0.012 - np.abs(y - floor), size)


def _snow(random, x, y, colour):
    size = len(y)
    image = _sky(random, y, (136, 178, 220), (226, 236, 246), 0.5)
    peak = _ridge_line(random, x, random.uniform(0.3, 0.42), 0.12)
    rock = _blend((120, 132, 156), (88, 100, 126), _clouds(random, size, 6))
    rock = _over(rock, np.full(3, 244.0), peak + 0.09 + 0.1 * _clouds(random, size, 9) - y, size)
    image = _over(image, rock, y - peak, size)
    snow = _blend((250, 252, 255), (204, 218, 238), (y - 0.55) + 0.4 * _clouds(random, size, 5) - 0.1)
    return _over(image, snow, y - _ridge_line(random, x, 0.6, 0.03), size)


def _night(random, x, y, colour):
    size = len(y)
    image = _blend((10, 12, 40), (36, 40, 92), y)
    for _ in range(40):
        star_x, star_y, radius = random.random(), random.random() * 0.75, random.uniform(0.003, 0.009)
        box = _box(star_x, star_y, radius, size)
        distance = np.hypot(x[box] - star_x, y[box] - star_y)
        image[box] = _over(image[box], np.full(3, 236.0), radius - distance, size)
    moon_x, moon_y = random.uniform(0.1, 0.9), random.uniform(0.1, 0.22)
    image = _over(image, np.float32((246, 240, 206)), 0.07 - np.hypot(x - moon_x, y - moon_y), size)
    return _over(image, np.float32((12, 20, 26)), y - _ridge_line(random, x, 0.8, 0.04), size)


def _desert(random, x, y, colour):
    size = len(y)
    image = _sky(random, y, (110, 176, 220), (246, 226, 186), 0.25)
    for height, shade in ((0.48, 1.0), (0.6, 0.9), (0.76, 0.8)):
        dune = _blend((236, 178, 104), (204, 138, 72), _clouds(random, size, 5)) * shade
        image = _over(image, dune, y - _ridge_line(random, x, height, 0.06), size)
    return image


def _forest(random, x, y, colour):
    size = len(y)
    image = _blend((74, 112, 66), (28, 62, 40), 1.3 * _clouds(random, size, 6) - 0.15)
    for _ in range(int(random.integers(6, 10))):
        middle, width, shade = random.random(), random.uniform(0.015, 0.035), random.uniform(0.6, 1.1)
        trunk = np.minimum(width - np.abs(x - middle - 0.02 * np.sin(5 * y)), 0.85 - y)
        image = _over(image, np.float32((88, 64, 46)) * shade, trunk, size)
    leaves = _clouds(random, size, 12)
    image = _over(image, _blend((66, 120, 56), (36, 82, 40), leaves), (leaves - 0.45 - y) * 0.2, size)
    ground = _blend((92, 84, 52), (58, 92, 44), _clouds(random, size, 9) * 1.4 - 0.2)
    return _over(image, ground, y - _ridge_line(random, x, 0.74, 0.02), size)


def _sunset(random, x, y, colour):
    size, horizon = len(y), random.uniform(0.62, 0.74)
    image = _blend((96, 62, 128), (250, 150, 82), y / horizon)
    cloud = np.clip((_clouds(random, size, 3) - 0.5) * 3, 0, 1) * 0.6
    image = _blend(image, np.float32((240, 112, 104)), cloud)
    distance = np.hypot(x - random.uniform(0.2, 0.8), y - horizon + 0.06)
    image = _over(image, np.float32((255, 226, 140)), 0.11 - distance, size)
    water = _blend((202, 96, 84), (70, 44, 92), (y - horizon) * 3)
    return _over(image, water, y - horizon, size)


def _underwater(random, x, y, colour):
    size = len(y)
    image = _blend((64, 178, 204), (12, 58, 118), y * 1.1)
    rays = np.clip(np.sin(18 * (x + 0.35 * y) + 6 * random.random()) * (1 - y), 0, 1) * 0.25
    image = _blend(image, np.float32((206, 244, 246)), rays)
    for _ in range(14):
        ring_x, ring_y, radius = random.random(), random.random(), random.uniform(0.008, 0.02)
        box = _box(ring_x, ring_y, radius + 0.004, size)
        ring = 0.004 - np.abs(np.hypot(x[box] - ring_x, y[box] - ring_y) - radius)
        image[box] = _over(image[box], np.float32((186, 230, 242)), ring, size)
    sand = _blend((160, 164, 132), (112, 128, 124), _clouds(random, size, 9))
    return _over(image, sand, y - _ridge_line(random, x, 0.84, 0.03), size)


def _table(random, x, y, colour):
    size, edge = len(y), random.uniform(0.42, 0.55)
    wall = _blend((228, 222, 210), (196, 188, 178), 0.7 * y + 0.3 * x)
    cloth = _blend(colour * 1.02, colour * 0.78, (y - edge) * 1.3)
    stripes = (np.sin(2 * np.pi * 6 * ((x - 0.5) / (0.5 + y - edge) + 0.5)) > 0.3) * 0.12
    return _over(wall, _blend(cloth, np.full(3, 255.0), stripes * (random.random() < 0.6)), y - edge, size)


_PAINTERS = {name: globals()[f"_{name}"] for name in BACKGROUNDS}
