"""Two more experiments with the simulated subjects, laid out like NSD-Imagery and NSD-synthetic. They are not data.

Imagery: targets are seen, attended to and imagined. An imagined target drives each voxel by `GAINS["img"]` of the
response to the seen one, and the noise is `NOISES["img"]` times that of a trial of the core experiment. Each run lies
on a baseline of its own.

Out of distribution: scenes of objects that the subjects' stimuli never show, on backgrounds of no other scene, and
gratings. CLIP and the autoencoders of the demo have seen these objects in training, the UNet few of them, the decoders
none; no network has seen the backgrounds.

Responses are those of the same voxels as in the core experiment: its stimuli alone say how responses are standardised.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
from PIL import Image

from brain_diffuser.artifacts import hdf5
from brain_diffuser.artifacts.hdf5 import atomic
from brain_diffuser.data import nsd_imagery, nsd_synthetic
from brain_diffuser.models.efficientnet_lite import EfficientNetLite
from demo import brain, dataset, scenes

GAINS = {"vis": 1.0, "att": 1.0, "img": 0.35}
"""Of the response to a target, by what a subject does."""
NOISES = {"vis": 1.0, "att": 1.0, "img": 1.3}
"""Standard deviation of the noise of a trial, in units of that of the core experiment."""
BASELINE = 0.5
"""Standard deviation over voxels of a run's baseline, percent signal change."""
HEIGHT, WIDTH = 238, 453
"""Pixels of an image of the set out of distribution; NSD-synthetic has 714 and 1360."""
SCENES, SPIRALS, COLOURS = range(1, 49), range(105, 113), range(221, 227)
"""Numbers, from 1, of the stimuli that are shown: scenes, gratings, and those made for a subject; 12 times each."""
PATTERNS = ("checks", "stripes", "dots", "rings")


class Seen(NamedTuple):
    """What the simulated brain answers to: maps, features of two layers, and scenes whose objects have categories."""

    maps: np.ndarray
    features: dict[str, np.ndarray]
    scenes: list[scenes.Scene]


def look(images: Iterable[np.ndarray], shown: Sequence[scenes.Scene], network: EfficientNetLite) -> Seen:
    """What is seen in batches of images."""
    maps, features = [], []
    for batch in images:
        maps.append(brain.low_level_maps(batch))
        features.append(brain.high_level_features(batch, network))
    layers = {name: np.concatenate([batch[name] for batch in features]) for name in features[0]}
    return Seen(np.concatenate(maps), layers, list(shown))


def responses(subject: int, seed: int, places: brain.Anatomy, core: Seen, new: Seen) -> np.ndarray:
    """Noise-free responses to new images, float32 (images, voxels), of the voxels of `brain.responses`.

    Mean, spread and principal components are those of the stimuli of the core experiment; to these the responses are
    those of `brain.responses`.
    """
    random = scenes.rng(seed, "tuning", subject)
    mean, spread = core.maps.mean((0, 2, 3), keepdims=True), core.maps.std((0, 2, 3), keepdims=True)
    early = [_by_place((seen.maps - mean) / spread) for seen in (core, new)]
    signals = [np.zeros((len(seen.maps), len(places.index)), np.float32) for seen in (core, new)]
    kinds = brain.kinds_of(places)
    for kind in brain.FIELD_SIZE:
        voxels = np.flatnonzero(kinds == kind)
        fields = brain.Fields.of_voxels(places, voxels, kind)
        if kind in brain.N_COMPONENTS:
            maps = _components(core.features[kind], new.features[kind], brain.N_COMPONENTS[kind])
            n_features = maps[0].shape[2]
            weights = random.normal(size=(len(voxels), n_features)) * np.arange(1, n_features + 1) ** -0.35
        else:
            maps, weights = early, _weights(random, len(voxels))
        of_kind = [fields.respond(each, weights) for each in maps]
        for signal, each in zip(signals, _standardise(*of_kind), strict=True):
            signal[:, voxels] = each
    for name, drive in brain.DRIVES.items():
        voxels = np.flatnonzero(places.area == name)
        presence = _standardise(*(_presence(seen.scenes, drive) for seen in (core, new)))
        share = random.uniform(0.4, 0.7, len(voxels))
        for signal, each in zip(signals, presence, strict=True):
            signal[:, voxels] = 0.8 * each + share * signal[:, voxels]
    return _standardise(*signals)[1].astype(np.float32)


def _by_place(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)


def _weights(random: np.random.Generator, n_voxels: int) -> np.ndarray:
    """The tuning of voxels of early areas."""
    preferred = random.uniform(0, np.pi, (n_voxels, 1))
    tuning = np.exp(2 * np.cos(2 * (np.arange(4) * np.pi / 4 - preferred)))
    tuning /= tuning.sum(1, keepdims=True)
    energy = random.dirichlet((1.5, 1.5, 1.5), n_voxels)[:, :, None] * tuning[:, None]
    colour = random.normal(0, 1, (n_voxels, 3)) * (1.0, 0.8, 0.8)
    return np.concatenate([1.6 * energy.reshape(n_voxels, -1), 0.8 * colour], axis=1)


def _components(core: np.ndarray, new: np.ndarray, count: int) -> list[np.ndarray]:
    """The leading principal components of core features, of these and of new ones."""
    mean = core.reshape(-1, core.shape[-1]).mean(0)
    flat = core.reshape(-1, core.shape[-1]) - mean
    variance, directions = np.linalg.eigh((flat.T @ flat).astype(np.float64) / len(flat))
    leading = directions[:, ::-1][:, :count] / np.sqrt(np.maximum(variance[::-1][:count], 1e-12))
    leading = leading.astype(np.float32)
    others = (new.reshape(-1, new.shape[-1]) - mean) @ leading
    return [(flat @ leading).reshape(*core.shape[:2], -1), others.reshape(*new.shape[:2], -1)]


def _presence(shown: Sequence[scenes.Scene], drive: Mapping[str, float]) -> np.ndarray:
    """How much of each image is covered by what drives an area."""
    covered = [scenes.coverage(each) for each in shown]
    present = [sum(drive.get(name, 0) * np.sqrt(area) for name, area in each.items()) for each in covered]
    return np.array(present, np.float32)[:, None]


def _standardise(core: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in standard deviations of the core ones."""
    mean, spread = core.mean(0), core.std(0)
    spread = np.where(spread > 0, spread, 1)
    return (core - mean) / spread, (new - mean) / spread


def trial_betas(
    subject: int, seed: int, signal: np.ndarray, ncsnr: np.ndarray, runs: Sequence[str], name: str
) -> np.ndarray:
    """int16 (trials, voxels): percent signal change x 300 of trials with this signal.

    Parameters
    ----------
    subject, seed : int
    signal : (trials, voxels)
        The noise-free responses, in standard deviations.
    ncsnr : (voxels,)
        Signal over noise of a trial of the core experiment.
    runs : labels
        The run of each trial; its first three letters are a key of `GAINS`, or it has no gain of its own.
    name : str
        The experiment, for its draws.
    """
    random = scenes.rng(seed, f"noise/{name}", subject)
    shared = scenes.rng(seed, "noise pattern", subject).normal(0, 0.35 / np.sqrt(6), (6, signal.shape[1]))
    noise = random.normal(0, np.sqrt(1 - 0.35**2), signal.shape) + random.normal(size=(len(signal), 6)) @ shared
    spread = scenes.rng(seed, "gain", subject).uniform(1.2, 2.4, signal.shape[1])  # percent, noise of one trial
    gain, louder = (np.array([known.get(run[:3], 1.0) for run in runs])[:, None] for known in (GAINS, NOISES))
    baseline = {
        run: scenes.rng(seed, f"baseline/{name}/{run}", subject).normal(0.4, BASELINE, signal.shape[1])
        for run in dict.fromkeys(runs)
    }
    percent = np.stack([baseline[run] for run in runs]) + spread * (ncsnr * gain * signal + louder * noise)
    return np.clip(np.rint(percent * 300), -32767, 32767).astype(np.int16)


def target_images(seed: int) -> tuple[dict[str, np.ndarray], list[scenes.Scene]]:
    """The images of all targets of NSD-Imagery by cue letter, uint8 (425, 425, 3), and their scenes.

    Set A: bars and crosses. Set B: the demo's scenes of these ids, and another scene. Set C: what stands for a word
    before the mind's eye, and in no file.
    """
    images, shown = {}, []
    blank = scenes.Scene("table", "grey", 0, ())
    for group, cue, number, stem in nsd_imagery.targets(list(nsd_imagery.SETS)):
        scene = blank
        if group == "A":
            images[cue] = _bars(float(stem[4:9]), has_two=stem.startswith("crs"))
        elif group == "C" and stem in ("yellow", "stripes"):
            images[cue] = _plain(stem)
        else:
            scene = dataset.scene_of(number, seed) if number < dataset.N_IDS else _scene_of_word(stem, seed)
            images[cue] = scenes.render(scene, dataset.SIDE)
        shown.append(scene)
    return images, shown


def _bars(degrees: float, *, has_two: bool) -> np.ndarray:
    """A black bar, or two that cross, on grey."""
    y, x = np.mgrid[0 : dataset.SIDE, 0 : dataset.SIDE] / dataset.SIDE - 0.5
    image = np.full((dataset.SIDE, dataset.SIDE, 3), 127, np.uint8)
    for angle in np.deg2rad([degrees, degrees + 90] if has_two else [degrees]):
        along, across = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
        image[(abs(along) < 0.48) & (abs(across) < 0.05)] = 0
    return image


def _plain(word: str) -> np.ndarray:
    """Yellow, or stripes."""
    x = np.mgrid[0 : dataset.SIDE, 0 : dataset.SIDE][1]
    image = np.full((dataset.SIDE, dataset.SIDE, 3), scenes.COLOURS["yellow"], np.uint8)
    if word == "stripes":
        image[:] = np.where((x // 40) % 2, 240, 20)[..., None]
    return image


def _scene_of_word(word: str, seed: int) -> scenes.Scene:
    """A scene of something that a word names, or any scene."""
    named = [number for number, thing in enumerate(scenes.things()) if word in (thing.name, thing.category)]
    return scenes.sample(scenes.rng(seed, f"imagery/{word}", 0), named or None)


def write_targets(folder: str | Path, seed: int) -> None:
    """Write the target images of sets A and B below a folder, setA/... and setB/..., under their published names."""
    images, _ = target_images(seed)
    for group, cue, _, stem in nsd_imagery.targets(list(nsd_imagery.WITH_IMAGES)):
        path = Path(folder, f"set{group}", f"{stem}{nsd_imagery.ENDINGS[group]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            Image.fromarray(images[cue]).save(part, format="PNG")


def cue_order(run: str, seed: int, subject: int) -> list[str]:
    """The cue letters of the 48 trials of a run, each eight times."""
    letters = list(nsd_imagery.SETS[run[3]]) * 8
    return scenes.rng(seed, f"imagery order/{run}", subject).permutation(letters).tolist()


def write_run(path: str | Path, run: str, seed: int, subject: int) -> None:
    """Write the table of a run."""
    lines = ["TRIAL\tCONDITION", *(f"{n}\t{cue}" for n, cue in enumerate(cue_order(run, seed, subject), 1))]
    with atomic(path) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")


def imagery_rows(seed: int, subject: int) -> tuple[list[str], list[str]]:
    """The run and the cue letter of each of the 720 betas; attention runs have two betas for each trial."""
    runs, cues = [], []
    for block in nsd_imagery.blocks():
        repeats = (block.stop - block.start) // nsd_imagery.TRIALS
        runs += [block.run] * (block.stop - block.start)
        cues += [cue for cue in cue_order(block.run, seed, subject) for _ in range(repeats)]
    return runs, cues


def shown_numbers() -> list[int]:
    """The numbers, from 1, of the stimuli out of distribution that are shown."""
    return [*SCENES, *SPIRALS, *COLOURS]


def ordering(seed: int) -> np.ndarray:
    """The number of the stimulus of each of 744 trials."""
    numbers = np.resize(np.array(shown_numbers()), nsd_synthetic.N_TRIALS)
    return scenes.rng(seed, "synthetic order", 0).permutation(numbers)


def synthetic_image(number: int, seed: int, subject: int) -> tuple[np.ndarray, scenes.Scene]:
    """The image of a stimulus, uint8 (238, 453, 3), and its scene: its central square is what the brain sees."""
    of = subject if number in COLOURS else 0
    random = scenes.rng(seed, f"synthetic/{number}", of)
    frame = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)
    left = (WIDTH - HEIGHT) // 2
    scene = scenes.Scene("table", "grey", 0, ())
    if number in SPIRALS:
        square = _grating(random, coloured=False)
    elif number in COLOURS:
        square = _grating(random, coloured=True)
    else:
        unseen = [place for place, thing in enumerate(scenes.things()) if thing.shown == "no"]
        scene = scenes.sample(random, unseen)
        square = _on_pattern(scene, PATTERNS[number % len(PATTERNS)], random)
    frame[:, left : left + HEIGHT] = square
    return frame, scene


def _on_pattern(scene: scenes.Scene, pattern: str, random: np.random.Generator) -> np.ndarray:
    """The objects of a scene on a background that no scene has."""
    y, x = np.mgrid[0:HEIGHT, 0:HEIGHT] / HEIGHT
    cells = int(random.integers(3, 7))
    is_first = {
        "checks": (np.floor(x * cells) + np.floor(y * cells)) % 2 == 0,
        "stripes": np.sin(2 * np.pi * cells * (x * np.cos(1.0) + y * np.sin(1.0))) > 0,
        "dots": np.hypot(x * cells % 1 - 0.5, y * cells % 1 - 0.5) < 0.3,
        "rings": np.sin(2 * np.pi * cells * np.hypot(x - 0.5, y - 0.5)) > 0,
    }[pattern]
    names = random.permutation(list(scenes.COLOURS))[:2]
    canvas = np.where(is_first[..., None], scenes.COLOURS[str(names[0])], scenes.COLOURS[str(names[1])])
    image = Image.fromarray(canvas.astype(np.uint8))
    for placed in scene.objects:
        side = max(2, round(placed.size * HEIGHT))
        with Image.open(scenes.IMAGES / scenes.things()[placed.thing].image) as file:
            sprite = file.convert("RGBA").resize((side, side), Image.Resampling.BILINEAR)
        image.paste(sprite, (round(placed.x * HEIGHT - side / 2), round(placed.y * HEIGHT - side / 2)), sprite)
    return np.asarray(image)


def _grating(random: np.random.Generator, *, coloured: bool) -> np.ndarray:
    """A grating, grey or between two colours."""
    y, x = np.mgrid[0:HEIGHT, 0:HEIGHT] / HEIGHT
    angle, cycles = random.uniform(0, np.pi), random.uniform(3, 12)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * (cycles * (x * np.cos(angle) + y * np.sin(angle)) + random.random()))
    low, high = ((20, 20, 20), (235, 235, 235))
    if coloured:
        low, high = (scenes.COLOURS[str(name)] for name in random.permutation(list(scenes.COLOURS))[:2])
    return np.rint(low + (np.array(high) - low) * wave[..., None]).astype(np.uint8)


def write_brick(path: str | Path, first: int, count: int, seed: int, subject: int) -> None:
    """Write a stimulus file of the numbers from `first` on; rows that are never shown are holes."""
    with hdf5.writing(path) as file:
        shape, chunk = (count, HEIGHT, WIDTH, 3), (1, HEIGHT, WIDTH, 3)
        brick = file.create_dataset("imgBrick", shape, np.uint8, chunks=chunk, compression=1)
        for number in shown_numbers():
            if first <= number < first + count:
                brick[number - first] = synthetic_image(number, seed, subject)[0]


def write_design(path: str | Path, seed: int) -> None:
    """Write nsdsynthetic_expdesign.mat."""
    with atomic(path) as part, open(part, "wb") as file:
        scipy.io.savemat(file, {"masterordering": ordering(seed)[None].astype(np.float64)})


def simulate(
    subject: int,
    seed: int,
    core: Callable[[], Seen],
    network: EfficientNetLite,
) -> tuple[brain.Anatomy, dict[str, np.ndarray]]:
    """The anatomy of a subject, and the betas of both experiments, int16 (trials, voxels).

    Parameters
    ----------
    subject, seed : int
    core : () -> Seen
        The stimuli of the subject's core experiment.
    network : EfficientNetLite
        The network of the brain's high-level features.
    """
    places = brain.anatomy(subject, seed)
    images, of_targets = target_images(seed)
    drawn = [synthetic_image(number, seed, subject) for number in shown_numbers()]
    left = (WIDTH - HEIGHT) // 2
    squares = np.stack([image[:, left : left + HEIGHT] for image, _ in drawn])
    new = [
        look([np.stack(list(images.values()))], of_targets, network),
        look([squares], [scene for _, scene in drawn], network),
    ]
    both = Seen(
        np.concatenate([each.maps for each in new]),
        {name: np.concatenate([each.features[name] for each in new]) for name in new[0].features},
        [scene for each in new for scene in each.scenes],
    )
    signal = responses(subject, seed, places, core(), both)
    ncsnr = brain.noise_to_signal(subject, seed, places)
    cue_rows = {cue: row for row, cue in enumerate(images)}
    runs, cues = imagery_rows(seed, subject)
    number_rows = {number: len(images) + row for row, number in enumerate(shown_numbers())}
    of_synthetic = [number_rows[number] for number in ordering(seed).tolist()]
    synthetic_runs = nsd_synthetic.runs({})
    return places, {
        "imagery": trial_betas(subject, seed, signal[[cue_rows[cue] for cue in cues]], ncsnr, runs, "imagery"),
        "synthetic": trial_betas(subject, seed, signal[of_synthetic], ncsnr, synthetic_runs, "synthetic"),
    }
