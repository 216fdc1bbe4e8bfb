"""A simulated subject: betas whose origin is known, laid out like NSD's func1pt8mm betas and ROI masks.

This is a simulation, not a brain. Each voxel answers to one known code:
- V1v ... hV4: contrast energy at 4 orientations and 3 spatial frequencies, luminance and two colour axes inside the
  voxel's receptive field, whose size grows with eccentricity and from V1 to V4;
- the face, word, place and body areas: how much of the picture their category covers, and a little of what follows;
- the other voxels: features of the left, middle and right of the picture in an ImageNet network (EfficientNet-Lite1)
  that neither the decoder nor the judge of the demo uses.
To the response, standardised over stimuli, noise is added that is partly shared between voxels, at a
signal-to-noise ratio (ncsnr) drawn to resemble NSD's. Percent signal change x 300 is stored as int16.
"""

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import torch
from PIL import Image

from brain_diffuser import pictures
from brain_diffuser.arrays import atomic
from brain_diffuser.networks import EfficientNetLite
from demo import scenes

SHAPE = (24, 22, 18)  # voxels of 1.8 mm
DEGREES = 8.4  # width of a stimulus in the scanner
MAP = 32  # receptive fields are evaluated on a MAP x MAP grid
EARLY = (("V1v", 190), ("V1d", 190), ("V2v", 160), ("V2d", 160), ("V3v", 140), ("V3d", 140), ("hV4", 160))
CATEGORY = (("faces", 180), ("words", 140), ("places", 220), ("bodies", 180))
N_OTHER = 940
ECCENTRICITY_BANDS = (0.5, 1.0, 2.0, 4.0)
FIELD_GROWTH = {"V1": 0.12, "V2": 0.17, "V3": 0.24, "hV": 0.36}  # degrees of size per degree of eccentricity
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
    """A subject's areas: contiguous bands from the back of the volume forward, ventral ones below."""
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
    eccentricity = np.exp(random.uniform(np.log(0.15), np.log(5.2), n_voxels))
    elevation = random.uniform(0, np.pi / 2, n_voxels)
    upper = np.char.endswith(area, "v") | (~np.char.endswith(area, "d") & (random.random(n_voxels) < 0.5))
    right = grid[index, 0] < 0  # the left hemisphere sees the right half of the picture
    angle = np.where(upper, elevation, -elevation)
    return Anatomy(index, area, eccentricity, np.where(right, angle, np.pi - angle))


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
    for cycles in (4, 9, 20):  # a picture
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
def high_level_features(images: np.ndarray, network: EfficientNetLite) -> np.ndarray:
    """Last feature map of the network at 128 px, averaged over left, middle and right; float32 (n, 3, channels)."""
    maps: list[torch.Tensor] = []
    hook = network._bn1.register_forward_hook(lambda _module, _inputs, output: maps.append(output.clamp(0, 6)))
    try:
        x = torch.from_numpy(pictures.resize(images, 4 * MAP)).permute(0, 3, 1, 2)  # (n, 3, 128, 128)
        network((x.float() - 127) / 128)
    finally:
        hook.remove()
    columns = maps[0].mean(2)  # (n, channels, columns)
    n = columns.shape[-1]
    windows = [columns[..., : n // 2], columns[..., n // 4 : n - n // 4], columns[..., -(n // 2) :]]
    return torch.stack([w.mean(-1) for w in windows], dim=1).numpy()


def components(features: np.ndarray, count: int) -> np.ndarray:
    """Leading principal components over stimuli, of unit variance; (n, channels) -> (n, count)."""
    centred = features - features.mean(0)
    left, _, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :count] * np.sqrt(len(features))


def responses(
    subject: int,
    seed: int,
    places: Anatomy,
    maps: np.ndarray,
    features: np.ndarray,
    shown_scenes: Sequence[scenes.Scene],
) -> np.ndarray:
    """Noise-free responses, standardised over stimuli; float32 (stimuli, voxels)."""
    random = scenes.rng(seed, "tuning", subject)
    n_stimuli, n_voxels = len(maps), len(places.index)
    signal = np.zeros((n_stimuli, n_voxels), np.float32)
    maps = maps.reshape(n_stimuli, maps.shape[1], -1)
    maps = (maps - maps.mean((0, 2), keepdims=True)) / maps.std((0, 2), keepdims=True)
    centres = (np.arange(MAP) + 0.5) / MAP * DEGREES - DEGREES / 2
    field_x, field_y = np.meshgrid(centres, -centres)
    for voxel in np.flatnonzero(np.char.startswith(places.area, "V") | (places.area == "hV4")):
        eccentricity, angle = places.eccentricity[voxel], places.angle[voxel]
        size = 0.25 + FIELD_GROWTH[places.area[voxel][:2]] * eccentricity
        distance = (field_x - eccentricity * np.cos(angle)) ** 2 + (field_y - eccentricity * np.sin(angle)) ** 2
        field = np.exp(-distance / (2 * size**2)).ravel()
        tuning = np.exp(2 * np.cos(2 * (np.arange(4) * np.pi / 4 - random.uniform(0, np.pi))))
        energy = np.outer(random.dirichlet((1.5, 1.5, 1.5)), tuning / tuning.sum()).ravel()
        colour = random.normal(0, 1, 3) * (1.0, 0.8, 0.8)
        weights = np.r_[1.6 * energy, 0.8 * colour].astype(np.float32)
        signal[:, voxel] = np.einsum(
            "nmp,m,p->n", maps, weights, (field / field.sum()).astype(np.float32), optimize=True
        )
    sides = [components(features[:, side], 60) for side in range(3)]
    count = sides[0].shape[1]
    spectrum = np.tile(np.arange(1, count + 1) ** -0.35, 3)
    mixed = np.flatnonzero(~(np.char.startswith(places.area, "V") | (places.area == "hV4")))
    side_gain = np.repeat(random.dirichlet((0.6, 0.6, 0.6), len(mixed)).T * 3, count, axis=0)
    signal[:, mixed] = _standardise(
        np.concatenate(sides, axis=1) @ (spectrum[:, None] * side_gain * random.normal(size=side_gain.shape))
    )
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
    """Atlas name -> int labels of the voxels, in NSD's codes (facts: prf-visualrois 1-7, eccentricity 1-5, floc-*)."""
    labels = {"nsdgeneral": np.ones(len(places.index), int)}
    early = [name for name, _ in EARLY]
    labels["prf-visualrois"] = np.array([early.index(a) + 1 if a in early else 0 for a in places.area])
    band = np.digitize(places.eccentricity, ECCENTRICITY_BANDS) + 1
    labels["prf-eccrois"] = np.where(labels["prf-visualrois"] > 0, band, 0)
    for name, parts in FLOC_LABELS.items():
        inside = places.area == name
        labels[f"floc-{name}"] = np.where(inside, 1 + (np.cumsum(inside) - 1) * parts // max(inside.sum(), 1), 0)
    return labels


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
        with atomic(path) as part, h5py.File(part, "w") as file:
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
    """Anatomy, responses (stimuli, voxels) and ncsnr of a subject who saw these stimuli, 64 pictures at a time."""
    places = anatomy(subject, seed)
    maps, features = [], []
    for start in progress(range(0, len(nsd_ids), 64)):
        batch = images(nsd_ids[start : start + 64])
        maps.append(low_level_maps(batch))
        features.append(high_level_features(batch, network))
    shown_scenes = [scene_of(int(i)) for i in nsd_ids]
    signal = responses(subject, seed, places, np.concatenate(maps), np.concatenate(features), shown_scenes)
    return places, signal, noise_to_signal(subject, seed, places)
