"""A simulated subject: betas whose origin is known, laid out like NSD's func1pt8mm betas and ROI masks.

This is a simulation, not a brain. Each voxel answers to one known code:
- V1v ... hV4: contrast energy at 4 orientations and 3 spatial frequencies, luminance and two colour axes inside the
  voxel's receptive field, whose size grows with eccentricity and from V1 to V4;
- the face, word, place and body areas: how much of the image their category covers, and a little of what follows;
- the other voxels: features inside their receptive field of an ImageNet network (EfficientNet-Lite1) that neither the
  decoder nor an evaluation network of the demo uses, of a middle layer in the back and the last layer in the front:
  the feature-weighted receptive fields of St-Yves and Naselaris 2018.
To the response, standardised over stimuli, noise is added that is partly shared between voxels, at a
signal-to-noise ratio (ncsnr) drawn to resemble NSD's. Percent signal change x 300 is stored as int16.
"""

import gzip
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from torch import nn

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.artifacts.hdf5 import atomic
from brain_diffuser.models.efficientnet_lite import EfficientNetLite
from demo import scenes

SHAPE = (30, 28, 22)  # voxels of 1.8 mm
DEGREES = 8.4  # width of a stimulus in the scanner
MAP = 32  # early receptive fields are evaluated on a MAP x MAP grid
EARLY = (("V1v", 380), ("V1d", 380), ("V2v", 320), ("V2d", 320), ("V3v", 280), ("V3d", 280), ("hV4", 320))
CATEGORY = (("faces", 240), ("words", 200), ("places", 300), ("bodies", 240))
N_OTHER = 4240
ECCENTRICITY_BANDS = (0.5, 1.0, 2.0, 4.0)
FIELD_SIZE = {  # of receptive fields: degrees, and degrees per degree of eccentricity
    "V1": (0.25, 0.12),
    "V2": (0.25, 0.17),
    "V3": (0.25, 0.24),
    "hV": (0.25, 0.36),
    "middle": (0.6, 0.2),
    "last": (0.8, 0.3),
}
N_COMPONENTS = {"middle": 100, "last": 100}  # of a layer's features
FLOC_LABELS = {"faces": 5, "words": 5, "places": 3, "bodies": 4}
DRIVES = {  # how strongly a category's presence drives an area
    "faces": {"face": 1.0, "body": 0.35, "mammal": 0.3},
    "words": {"sign": 1.0, "toy or instrument": 0.15},
    "places": {"building": 1.0, "land vehicle": 0.25, "ship or aircraft": 0.2},
    "bodies": {"body": 1.0, "mammal": 0.55, "bird": 0.45, "face": 0.3},
}


@dataclass(frozen=True)
class Anatomy:
    """Where the voxels are. All arrays have one entry per voxel of nsdgeneral, in C order of the volume."""

    index: np.ndarray  # flat position in the volume
    area: np.ndarray  # name of the area, "other" outside the labelled ones
    eccentricity: np.ndarray  # degrees; of the receptive field
    angle: np.ndarray  # radians; 0 = right horizontal meridian, counter-clockwise


def anatomy(subject: int, seed: int) -> Anatomy:
    """A subject's areas: contiguous bands from the back of the volume forward, ventral ones below.

    The centre of gaze takes as much of them as in human V1 (Horton and Hoyt 1991).
    """
    random = scenes.rng(seed, "anatomy", subject)
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    grid = np.stack(np.meshgrid(x, y, z, indexing="ij"), -1).reshape(-1, 3)
    wobble = random.normal(0, 0.04, grid.shape[0])
    radius = np.linalg.norm(grid, axis=1)
    n_voxels = sum(n for _, n in EARLY + CATEGORY) + N_OTHER
    forward = np.where((radius > 0.45) & (radius < 1), grid[:, 1], np.inf) + wobble
    index = np.sort(np.argsort(forward, kind="stable")[:n_voxels])
    order = np.argsort(forward[index], kind="stable")  # back to front
    below = grid[index[order], 2] < 0
    area = np.full(n_voxels, "other", dtype="<U8")
    free = np.ones(n_voxels, bool)
    for name, count in EARLY + CATEGORY:
        side = ~below if name.endswith("d") or name in ("places",) else below
        places = np.flatnonzero(free & side)[:count]
        places = np.r_[places, np.flatnonzero(free & ~side)[: count - len(places)]]
        area[order[places]] = name
        free[places] = False
    degrees = np.linspace(0.05, 5.6, 1000)
    area_below = np.cumsum(degrees / (degrees + 0.75) ** 2)  # of cortex: its magnification is 1 / (degrees + 0.75)
    eccentricity = np.interp(random.random(n_voxels), area_below / area_below[-1], degrees)
    elevation = random.uniform(0, np.pi / 2, n_voxels)
    upper = np.char.endswith(area, "v") | (~np.char.endswith(area, "d") & (random.random(n_voxels) < 0.5))
    right = grid[index, 0] < 0  # the left hemisphere sees the right half of the image
    angle = np.where(upper, elevation, -elevation)
    return Anatomy(index, area, eccentricity, np.where(right, angle, np.pi - angle))


def kinds_of(places: Anatomy) -> np.ndarray:
    """What sort of receptive field each voxel has: an early area's, or one on the middle or the last layer."""
    _, forward, _ = np.unravel_index(places.index, SHAPE)
    early = np.isin(places.area, [name for name, _ in EARLY])
    other = places.area == "other"
    back = other & (forward < np.median(forward[other]))
    return np.where(early, places.area.astype("<U2"), np.where(back, "middle", "last"))


def low_level_maps(images: np.ndarray) -> np.ndarray:
    """Contrast energy (12), luminance and two colour axes; uint8 (n, h, w, 3) -> float32 (n, 15, MAP, MAP)."""
    small = np.stack([np.asarray(Image.fromarray(i).resize((4 * MAP,) * 2, Image.Resampling.BOX)) for i in images])
    red, green, blue = np.moveaxis(small.astype(np.float32) / 255, -1, 0)
    light = (red + green + blue) / 3
    colours = np.stack([light - 0.5, red - green, blue - (red + green) / 2], axis=1)
    side = 4 * MAP
    frequency_y, frequency_x = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    spectrum = np.fft.fft2(light - light.mean((1, 2), keepdims=True))
    energy = []
    for cycles in (4, 9, 20):  # an image
        for orientation in np.arange(4) * np.pi / 4:
            along = frequency_x * np.cos(orientation) + frequency_y * np.sin(orientation)
            across = frequency_y * np.cos(orientation) - frequency_x * np.sin(orientation)
            centre = cycles / side
            # half of the spectrum: the modulus is the energy of a quadrature pair
            gabor = np.exp(-((along - centre) ** 2 + across**2) / (2 * (0.4 * centre) ** 2))
            energy.append(np.abs(np.fft.ifft2(spectrum * gabor)))
    maps = np.concatenate([np.stack(energy, axis=1).astype(np.float32), colours], axis=1)
    return maps.reshape(len(images), -1, MAP, 4, MAP, 4).mean((3, 5))


@torch.inference_mode()
def high_level_features(images: np.ndarray, network: EfficientNetLite) -> dict[str, np.ndarray]:
    """Layer -> its features of images at 128 px, float32: middle (n, 64, 112) and last (n, 16, 1280) on a grid."""
    layers: dict[str, nn.Module] = {
        "middle": [block for block in network._blocks if block._project_conv.out_channels == 112][-1],
        "last": network._bn1,
    }
    activations: dict[str, np.ndarray] = {}

    def keep(name: str, _module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        output = output.clamp(0, 6) if name == "last" else output
        activations[name] = output.flatten(2).transpose(1, 2).numpy()

    with ExitStack() as hooks:
        for name, module in layers.items():
            hooks.enter_context(module.register_forward_hook(partial(keep, name)))
        x = torch.from_numpy(image_files.resize(images, 4 * MAP)).permute(0, 3, 1, 2)  # (n, 3, 128, 128)
        network((x.float() - 127) / 128)
    return activations


def components(features: np.ndarray, count: int) -> np.ndarray:
    """Leading principal components over stimuli and places, of unit variance; (n, p, channels) -> (n, p, count)."""
    flat = features.reshape(-1, features.shape[-1])
    flat = flat - flat.mean(0)
    variance, directions = np.linalg.eigh((flat.T @ flat).astype(np.float64) / len(flat))
    leading = directions[:, ::-1][:, :count] / np.sqrt(np.maximum(variance[::-1][:count], 1e-12))
    return (flat @ leading.astype(np.float32)).reshape(*features.shape[:2], -1)


class Fields(NamedTuple):
    """Gaussian receptive fields, in degrees from the centre of gaze; one entry per voxel."""

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray

    @classmethod
    def of_voxels(cls, places: Anatomy, voxels: np.ndarray, kind: str) -> "Fields":
        """The fields of some voxels; their size follows from kind and eccentricity."""
        eccentricity, angle = places.eccentricity[voxels], places.angle[voxels]
        smallest, growth = FIELD_SIZE[kind]
        return cls(eccentricity * np.cos(angle), eccentricity * np.sin(angle), smallest + growth * eccentricity)

    def respond(self, maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Features (n, places, channels) on a grid, weighted (voxels, channels) inside the fields: (n, voxels)."""
        side = round(np.sqrt(maps.shape[1]))
        centres = (np.arange(side) + 0.5) / side * DEGREES - DEGREES / 2
        grid_x, grid_y = (axis.ravel() for axis in np.meshgrid(centres, -centres))
        distance = (grid_x - self.x[:, None]) ** 2 + (grid_y - self.y[:, None]) ** 2
        field = np.exp(-distance / (2 * self.size[:, None] ** 2))
        field[field < 1e-9] = 0  # float32 numbers just above 0 are slow to multiply
        field = (field / field.sum(1, keepdims=True)).astype(np.float32)  # (voxels, places)
        by_channel = np.ascontiguousarray(maps.transpose(0, 2, 1)).reshape(-1, maps.shape[1])  # (n * channels, places)
        signal = np.empty((len(maps), len(field)), np.float32)
        for start in range(0, len(field), 128):
            some = slice(start, start + 128)
            pooled = (by_channel @ field[some].T).reshape(len(maps), maps.shape[2], -1)  # (n, channels, voxels)
            signal[:, some] = (pooled * weights[some].T.astype(np.float32)).sum(1)
        return signal


def responses(
    subject: int,
    seed: int,
    places: Anatomy,
    maps: np.ndarray,
    features: dict[str, np.ndarray],
    shown_scenes: Sequence[scenes.Scene],
) -> np.ndarray:
    """Noise-free responses to `low_level_maps` and `high_level_features`, standardised; float32 (stimuli, voxels)."""
    random = scenes.rng(seed, "tuning", subject)
    signal = np.zeros((len(maps), len(places.index)), np.float32)
    maps = (maps - maps.mean((0, 2, 3), keepdims=True)) / maps.std((0, 2, 3), keepdims=True)
    maps = maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)  # (n, MAP * MAP, 15)
    kinds = kinds_of(places)
    for kind in FIELD_SIZE:
        voxels = np.flatnonzero(kinds == kind)
        fields, n_voxels = Fields.of_voxels(places, voxels, kind), len(voxels)
        if kind in N_COMPONENTS:
            maps_of_kind = components(features[kind], N_COMPONENTS[kind])
            n_features = maps_of_kind.shape[2]
            weights = random.normal(size=(n_voxels, n_features)) * np.arange(1, n_features + 1) ** -0.35
        else:
            maps_of_kind = maps
            preferred = random.uniform(0, np.pi, (n_voxels, 1))
            tuning = np.exp(2 * np.cos(2 * (np.arange(4) * np.pi / 4 - preferred)))
            tuning /= tuning.sum(1, keepdims=True)
            energy = random.dirichlet((1.5, 1.5, 1.5), n_voxels)[:, :, None] * tuning[:, None]
            colour = random.normal(0, 1, (n_voxels, 3)) * (1.0, 0.8, 0.8)
            weights = np.concatenate([1.6 * energy.reshape(n_voxels, -1), 0.8 * colour], axis=1)
        signal[:, voxels] = _standardise(fields.respond(maps_of_kind, weights))
    for name, drive in DRIVES.items():
        voxels = np.flatnonzero(places.area == name)
        presence = [sum(drive.get(c, 0) * np.sqrt(a) for c, a in scenes.coverage(s).items()) for s in shown_scenes]
        presence = _standardise(np.array(presence, np.float32)[:, None])
        signal[:, voxels] = 0.8 * presence + random.uniform(0.4, 0.7, len(voxels)) * signal[:, voxels]
    return _standardise(signal).astype(np.float32)


def _standardise(values: np.ndarray) -> np.ndarray:
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, 1)


def noise_to_signal(subject: int, seed: int, places: Anatomy) -> np.ndarray:
    """Each voxel's ncsnr (signal sd / noise sd of one trial), float32; early areas are cleaner, as in NSD."""
    random = scenes.rng(seed, "ncsnr", subject)
    median = np.where(places.area == "other", 0.5, 0.62)
    return (median * np.exp(random.normal(0, 0.35, len(median)))).astype(np.float32)


def session_betas(subject: int, session: int, seed: int, signal: np.ndarray, ncsnr: np.ndarray) -> np.ndarray:
    """int16 (trials, voxels): percent signal change x 300 of a session whose trials have this signal."""
    random = scenes.rng(seed, f"noise/{session}", subject)
    shared = scenes.rng(seed, "noise pattern", subject).normal(0, 0.35 / np.sqrt(6), (6, signal.shape[1]))
    noise = random.normal(0, np.sqrt(1 - 0.35**2), signal.shape) + random.normal(size=(len(signal), 6)) @ shared
    spread = scenes.rng(seed, "gain", subject).uniform(1.2, 2.4, signal.shape[1])  # percent, noise of one trial
    percent = 0.4 + spread * (ncsnr * signal + noise)
    return np.clip(np.rint(percent * 300), -32767, 32767).astype(np.int16)


def atlases(places: Anatomy) -> dict[str, np.ndarray]:
    """Atlas name -> int labels of the voxels, in NSD's codes (brain_diffuser/data/atlas_labels.tsv)."""
    labels = {"nsdgeneral": np.ones(len(places.index), int)}
    early = [name for name, _ in EARLY]
    labels["prf-visualrois"] = np.array([early.index(a) + 1 if a in early else 0 for a in places.area])
    band = np.digitize(places.eccentricity, ECCENTRICITY_BANDS) + 1
    labels["prf-eccrois"] = np.where(labels["prf-visualrois"] > 0, band, 0)
    for name, parts in FLOC_LABELS.items():
        inside = places.area == name
        labels[f"floc-{name}"] = np.where(inside, 1 + (np.cumsum(inside) - 1) * parts // max(inside.sum(), 1), 0)
    labels["streams"] = _streams(places, labels["prf-visualrois"] > 0)
    return labels


def _streams(places: Anatomy, is_early: np.ndarray) -> np.ndarray:
    """NSD's codes: 1 early, 2 to 4 midventral, midlateral and midparietal, 5 to 7 ventral, lateral and parietal."""
    x, y, z = np.unravel_index(places.index, SHAPE)
    across, up = np.abs(x - (SHAPE[0] - 1) / 2) / SHAPE[0], (z - (SHAPE[2] - 1) / 2) / SHAPE[2]
    stream = np.where(across > np.abs(up), 1, np.where(up < 0, 0, 2))
    front = y >= np.median(y[~is_early])
    return np.where(is_early, 1, 2 + stream + 3 * front)


def write_rois(paths: dict[str, str | Path], places: Anatomy) -> None:
    """One int NIfTI per atlas: -1 outside cortex, 0 unlabelled, then the labels."""
    for name, labels in atlases(places).items():
        volume = np.full(np.prod(SHAPE), 0 if name == "nsdgeneral" else -1, np.int16)
        volume[places.index] = labels
        _write_nifti(paths[name], volume.reshape(SHAPE))


def write_session(path: str | Path, betas: np.ndarray, places: Anatomy) -> None:
    """A session's betas int16 (trials, voxels) as NIfTI (X, Y, Z, trials) or, by the ending, NSD's HDF5."""
    volume = np.zeros((len(betas), np.prod(SHAPE)), np.int16)
    volume[:, places.index] = betas
    volume = volume.reshape(-1, *SHAPE).transpose(1, 2, 3, 0)  # (X, Y, Z, trials)
    if Path(path).suffix == ".hdf5":
        with atomic(path) as part, hdf5.writing_at(part) as file:
            chunk = (len(betas), 1, 1, min(SHAPE[0], 8))
            file.create_dataset("betas", data=volume.transpose(3, 2, 1, 0), chunks=chunk)
    else:
        _write_nifti(path, volume)


def _write_nifti(path: str | Path, volume: np.ndarray) -> None:
    image = nib.Nifti1Image(volume, np.diag([1.8, 1.8, 1.8, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    with atomic(path) as part, open(part, "wb") as raw:
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
            file.write(image.to_bytes())


def simulate(
    subject: int,
    seed: int,
    nsd_ids: np.ndarray,
    images: Callable[[np.ndarray], np.ndarray],
    scene_of: Callable[[int], scenes.Scene],
    network: EfficientNetLite,
    progress: Callable[[Iterable], Iterable] = iter,
) -> tuple[Anatomy, np.ndarray, np.ndarray]:
    """Anatomy, responses (stimuli, voxels) and ncsnr of a subject who saw these stimuli, 64 images at a time."""
    places = anatomy(subject, seed)
    maps, features = [], []
    for start in progress(range(0, len(nsd_ids), 64)):
        batch = images(nsd_ids[start : start + 64])
        maps.append(low_level_maps(batch))
        features.append(high_level_features(batch, network))
    shown_scenes = [scene_of(int(i)) for i in nsd_ids]
    layers = {name: np.concatenate([batch[name] for batch in features]) for name in features[0]}
    signal = responses(subject, seed, places, np.concatenate(maps), layers, shown_scenes)
    return places, signal, noise_to_signal(subject, seed, places)
