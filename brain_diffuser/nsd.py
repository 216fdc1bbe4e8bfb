"""Stage 1: the published NSD files -> betas, stimuli, captions and regions of one subject, split into train and test.

Ids are 1-based in nsd_expdesign.mat and 0-based (rows of the picture brick) in everything this module returns.
"""

import csv
import functools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int16, Int32, Shaped
from nibabel.spatialimages import SpatialImage
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from brain_diffuser import arrays, sessions

logger = logging.getLogger(__name__)

N_SHARED = 1000  # the first pictures of every subject's list; the same ones for all, and the test split
N_PICTURES = 73_000  # rows of the picture brick and of the curated captions
STORED_PER_PERCENT = 300  # betas are stored as int16, 300 times percent signal change
UNREADABLE = (*sessions.UNREADABLE, MatReadError, TypeError, NotImplementedError)


class Stimuli(NamedTuple):
    """Pictures of a split in the order in which the subject first saw them, with all their 0-based trials."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    trials: tuple[Int[np.ndarray, " repeats"], ...]


class Mask(NamedTuple):
    """The voxels of a subject: columns of betas are the True voxels in C order of (x, y, z)."""

    path: Path
    selected: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


def read_design(
    path: str | Path, subject_number: int, session_numbers: Sequence[int]
) -> tuple[Int32[np.ndarray, " trials"], Int32[np.ndarray, " trials"]]:
    """For each trial of these sessions: the picture's nsd_id, and its 1-based rank in the subject's list.

    Raises FileNotFoundError, ValueError: not a MAT file, a variable is missing or misshapen, too few trials.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected NSD's experimental design. Download it.")
    try:
        design = loadmat(path, variable_names=("masterordering", "subjectim"))
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as a MAT file ({error}). Download it again.") from error
    for name, expected in (("masterordering", (1, 30000)), ("subjectim", (8, 10000))):
        found = design[name].shape if name in design else "no such variable"
        if found != expected:
            raise ValueError(f"{path}: {name} has shape {found}; expected {expected}. Is this nsd_expdesign.mat?")
    ordering, images = design["masterordering"][0].astype(np.int32), design["subjectim"].astype(np.int32)
    trials = np.concatenate([np.arange(sessions.N_TRIALS) + (n - 1) * sessions.N_TRIALS for n in session_numbers])
    if not 1 <= subject_number <= len(images):
        raise ValueError(f"{path} has subjects 1 to {len(images)}, got subject {subject_number}.")
    if trials.max() >= len(ordering):
        raise ValueError(
            f"{path} has {len(ordering)} trials; session {max(session_numbers)} would need {trials.max() + 1}. Ask for "
            "fewer."
        )
    rank = ordering[trials]
    if rank.min() < 1 or rank.max() > images.shape[1]:
        raise ValueError(f"{path}: masterordering has values {rank.min()} to {rank.max()}; expected 1 to 10000.")
    return images[subject_number - 1, rank - 1] - 1, rank


def split_stimuli(nsd_id: Int32[np.ndarray, " trials"], rank: Int32[np.ndarray, " trials"]) -> dict[str, Stimuli]:
    """The `train` and `test` stimuli; test are the shared pictures (rank <= 1000).

    Order of first presentation, so that the test order is the same for every subject.

    Raises ValueError: a split without stimuli.
    """
    shared = rank <= N_SHARED
    splits = {}
    for split, trials in (("train", np.flatnonzero(~shared)), ("test", np.flatnonzero(shared))):
        if not len(trials):
            raise ValueError(f"0 of {len(rank)} trials show a {split} stimulus; expected at least 1. Add sessions.")
        splits[split] = group_trials(nsd_id, trials)
    return splits


@functools.cache
def count_stimuli(path: str | Path, subject_number: int, session_numbers: tuple[int, ...]) -> dict[str, int]:
    """How many stimuli of each split these sessions show. Raises: see `read_design`, `split_stimuli`."""
    splits = split_stimuli(*read_design(path, subject_number, session_numbers))
    return {split: len(stimuli.nsd_id) for split, stimuli in splits.items()}


def group_trials(nsd_id: Int32[np.ndarray, " trials"], chosen: Int[np.ndarray, " chosen"]) -> Stimuli:
    """The stimuli of some trials in the order of first presentation, each with all of these trials."""
    ids, first, stimulus = np.unique(nsd_id[chosen], return_index=True, return_inverse=True)
    by_stimulus = np.split(chosen[np.argsort(stimulus, kind="stable")], np.cumsum(np.bincount(stimulus))[:-1])
    order = np.argsort(first)
    return Stimuli(ids[order], tuple(by_stimulus[each] for each in order))


def write_stimuli(path: str | Path, splits: Mapping[str, Stimuli]) -> None:
    """A table of nsd_id, split, n_repeats and trials: the row order of every array, split by split.

    Trials are numbered from 0 through the sessions that are read.
    """
    with arrays.atomic(path) as partial, open(partial, "w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(("nsd_id", "split", "n_repeats", "trials"))
        for split, stimuli in splits.items():
            for nsd_id, trials in zip(stimuli.nsd_id, stimuli.trials, strict=True):
                writer.writerow((nsd_id, split, len(trials), ",".join(map(str, trials))))


def read_stimuli(path: str | Path) -> dict[str, Stimuli]:
    """The table that `write_stimuli` wrote."""
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return {
        split: Stimuli(
            np.array([row["nsd_id"] for row in rows if row["split"] == split], np.int32),
            tuple(np.array(row["trials"].split(","), np.int64) for row in rows if row["split"] == split),
        )
        for split in dict.fromkeys(row["split"] for row in rows)
    }


def read_mask(path: str | Path) -> Mask:
    """The voxels where a volume is above 0 (-1 and 0 are both outside).

    Raises FileNotFoundError, ValueError: not a volume, no voxel.
    """
    volume, affine = _read_volume(path)
    mask = Mask(Path(path), volume > 0, affine)
    if not mask.selected.any():
        raise ValueError(
            f"{path} selects 0 voxels; expected about 15,000 above 0 for nsdgeneral. Is this the func1pt8mm mask?"
        )
    return mask


def average_betas(
    session_paths: Sequence[str | Path], mask: Mask, splits: Mapping[str, Stimuli]
) -> tuple[dict[str, arrays.Rows], Float32[np.ndarray, " voxels"]]:
    """Betas of each split, averaged over repeats (float32, percent signal change), and ncsnr: see `average_trials`.

    Raises ValueError: see `sessions.read`.
    Differs from the reference: divided by 300; float32, never all voxels of a session.
    """

    def read() -> Iterator[np.ndarray]:
        for number, path in enumerate(session_paths, 1):
            yield sessions.read(path, mask.selected, mask.path)
            logger.info("session %d of %d: %s", number, len(session_paths), Path(path).name)

    n_trials = len(session_paths) * sessions.N_TRIALS
    return average_trials(read(), n_trials, int(mask.selected.sum()), splits, STORED_PER_PERCENT)


def average_trials(
    blocks: Iterable[Shaped[np.ndarray, "block voxels"]],
    n_trials: int,
    n_voxels: int,
    splits: Mapping[str, Stimuli],
    stored_per_unit: int = 1,
) -> tuple[dict[str, arrays.Rows], Float32[np.ndarray, " voxels"]]:
    """Betas of each split, averaged over the repeats of a stimulus (float32), and ncsnr, from blocks of all trials.

    ncsnr is each voxel's signal-to-noise ratio: the standard deviation of what repeats share over that of what they do
    not, 0 if they share nothing, NaN if nothing was repeated. Trials of no stimulus count for nothing.
    One pass over the blocks. Sums of stored integers are exact, as are those of floats in float64 for three repeats,
    and each is divided once, so a mean does not depend on file format or order of blocks.
    Memory: a block; sums of 4 bytes (8 if stored as floats) per stimulus and voxel, which become the means in place.
    """
    trials = [trials for stimuli in splits.values() for trials in stimuli.trials]
    stimulus = np.full(n_trials, -1, np.intp)
    for row, each in enumerate(trials):
        stimulus[each] = row
    sums = np.zeros((len(trials), n_voxels), np.int32)
    squares = np.zeros(n_voxels)
    done = 0
    for betas in blocks:
        if betas.dtype.kind == "f" and sums.dtype.kind == "i":
            sums = sums.astype(np.float64)
        for trial, row in enumerate(stimulus[done : done + len(betas)]):
            if row >= 0:
                sums[row] += betas[trial]
                squares += np.square(betas[trial], dtype=np.float64)
        done += len(betas)
    assert done == n_trials
    ncsnr = _signal_to_noise(sums, squares, np.array([len(each) for each in trials]))
    means = sums.view(np.float32)[:, :n_voxels]  # the same memory: a row of means overwrites its own sums only
    for row, each in enumerate(trials):
        means[row] = sums[row] / (stored_per_unit * len(each))
    ends = np.cumsum([len(stimuli.nsd_id) for stimuli in splits.values()])
    betas_of = {
        split: arrays.Rows(means[end - len(stimuli.nsd_id) : end], stimuli.nsd_id)
        for (split, stimuli), end in zip(splits.items(), ends, strict=True)
    }
    return betas_of, ncsnr


def noise_ceiling(ncsnr: Float32[np.ndarray, " voxels"], repeats: float) -> Float32[np.ndarray, " voxels"]:
    """Share of the variance of betas averaged over `repeats` that a perfect model would explain.

    Source: Allen et al. 2022, Nature Neuroscience 25, 116-126, methods.
    """
    return ncsnr**2 / (ncsnr**2 + np.float32(1 / repeats))


def ceiling_of_test(rois: str | Path, stimuli: str | Path) -> tuple[Float32[np.ndarray, " voxels"], float]:
    """Each voxel's noise ceiling for the averaged betas of the test stimuli, a share of variance, and mean repeats."""
    repeats = float(np.mean([len(trials) for trials in read_stimuli(stimuli)["test"].trials]))
    with arrays.opening(rois) as file:
        return noise_ceiling(np.asarray(file["ncsnr"]), repeats), repeats


def _signal_to_noise(
    sums: np.ndarray, squares: Float64[np.ndarray, " voxels"], n_repeats: Int[np.ndarray, " stimuli"]
) -> Float32[np.ndarray, " voxels"]:
    """ncsnr from sums over the repeats of each stimulus and sums of squares over all trials.

    Differs from NSD's own: betas are not z-scored within sessions first, so drift counts as noise, and stimuli with
    fewer than three repeats count too.
    """
    n_trials, n_stimuli = int(n_repeats.sum()), len(n_repeats)
    between, total = np.zeros(len(squares)), np.zeros(len(squares))
    for row, n in zip(sums, n_repeats, strict=True):
        between += np.square(row, dtype=np.float64) / n
        total += row
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = (squares - between) / np.float64(n_trials - n_stimuli)
        signal = (squares - total**2 / n_trials) / (n_trials - 1) - noise
        return np.sqrt(np.maximum(signal, 0) / noise).astype(np.float32)


def settle_constant_voxels(
    betas: Mapping[str, arrays.Rows], mask: Mask, constant_voxels: str = "error"
) -> tuple[dict[str, arrays.Rows], Mask]:
    """Betas and mask with only voxels that vary over train stimuli, since no z-score exists for the others.

    `constant_voxels` is "error", to raise if there is one, or "drop".

    Raises ValueError: there is one, or none varies, or another word.
    """
    if constant_voxels not in ("error", "drop"):
        raise ValueError(f'nsd.constant_voxels must be "error" or "drop", got {constant_voxels!r}')
    train = betas["train"].values
    varies = train.max(0) > train.min(0)
    constant = np.flatnonzero(~varies)
    if not len(constant):
        return dict(betas), mask
    voxel = tuple(int(index) for index in np.argwhere(mask.selected)[constant[0]])
    found = (
        f"{mask.path} selects {len(constant)} of {len(varies)} voxels whose betas are constant over {len(train)} train "
        f"stimuli; the first is column {constant[0]}, voxel {voxel}"
    )
    if constant_voxels == "error" or not varies.any():
        raise ValueError(f"{found}. Set nsd.constant_voxels: drop to leave such voxels out, or check the mask.")
    logger.warning("%s; dropped", found)
    selected = mask.selected.copy()
    selected[mask.selected] = varies
    kept = {split: rows._replace(values=rows.values[:, varies]) for split, rows in betas.items()}
    return kept, mask._replace(selected=selected)


def copy_stimuli(brick_path: str | Path, path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> None:
    """Copy the pictures of some stimuli from the brick to an artifact, one at a time.

    Raises FileNotFoundError, ValueError: not HDF5, no `imgBrick` of RGB pictures, a picture that is not in it.
    """
    mend = "Download nsd_stimuli.hdf5 again."
    with arrays.opening(brick_path, mend) as file:
        brick = arrays.dataset(file, "imgBrick")
        found = "no such dataset" if brick is None else f"{brick.dtype} {brick.shape}"
        if brick is None or brick.dtype != np.uint8 or brick.ndim != 4 or brick.shape[3] != 3:
            raise ValueError(f"{brick_path}: imgBrick is {found}; expected uint8 (73000, 425, 425, 3). {mend}")
        with arrays.create(
            path, (len(nsd_id), *brick.shape[1:]), np.uint8, nsd_id, axes=("height", "width", "rgb"), flatten=False
        ) as images:
            for row in np.argsort(nsd_id):  # the brick is read front to back
                source = int(nsd_id[row])
                if not 0 <= source < len(brick) or not _is_stored(brick, source):
                    raise ValueError(
                        f"{brick_path}: imgBrick is {found} and lacks the picture of nsd_id {source}. {mend}"
                    )
                try:
                    images[row] = brick[source]
                except OSError as error:
                    raise ValueError(f"{brick_path}: imgBrick row {source} cannot be read ({error}). {mend}") from error


def read_captions(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> dict[int, list[str]]:
    """The non-empty captions of each stimulus, in the file's order.

    From `COCO_73k_annots_curated.npy` (a row per picture), a .json ({"nsd_id": [captions]}), or a .csv (a row per
    caption, below the header nsd_id,caption).

    Raises FileNotFoundError, ValueError: unreadable, of the wrong length, a stimulus is missing or has no caption.
    """
    path = Path(path)
    readers = {".npy": _captions_npy, ".json": _captions_json, ".csv": _captions_csv}
    if path.suffix not in readers:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected captions in {', '.join(readers)}.")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected the captions of the pictures.")
    known = readers[path.suffix](path)
    captions = {}
    for each in nsd_id.tolist():
        if isinstance(known, dict) and each not in known:
            raise ValueError(f"{path} has captions of {len(known)} pictures and lacks nsd_id {each}. Add it.")
        captions[each] = [text for text in (str(text).strip() for text in known[each]) if text]
        if not captions[each]:
            raise ValueError(f"{path}: all captions of nsd_id {each} are empty; expected at least 1. Add one.")
    return captions


def write_captions(path: str | Path, captions: Mapping[int, list[str]]) -> None:
    """Captions as JSON, {"nsd_id": [captions]}."""
    with arrays.atomic(path) as partial:
        partial.write_text(json.dumps(captions, ensure_ascii=False, indent=1), encoding="utf-8")


def read_rois(folder: str | Path, atlases: Sequence[str], mask: Mask) -> dict[str, Int16[np.ndarray, " voxels"]]:
    """Each atlas' label of every voxel: -1 no cortex, 0 unlabelled cortex, from 1 on a region.

    Raises FileNotFoundError, ValueError: not a volume, another grid than the mask's, labels that are not whole.
    """
    labels = {}
    for atlas in atlases:
        path = Path(folder) / f"{atlas}.nii.gz"
        volume, _ = _read_volume(path)
        if volume.shape != mask.selected.shape:
            raise ValueError(
                f"{path} has shape {volume.shape}, {mask.path} {mask.selected.shape}; expected one grid. "
                f"Is one of them another subject's?"
            )
        found = volume[mask.selected]
        labels[atlas] = found.astype(np.int16)
        if not np.array_equal(labels[atlas], found):
            raise ValueError(f"{path} has labels that are not whole, such as {found[labels[atlas] != found][0]}.")
    return labels


def write_rois(
    path: str | Path,
    labels: Mapping[str, Int16[np.ndarray, " voxels"]],
    mask: Mask,
    ncsnr: Float32[np.ndarray, " voxels"],
) -> None:
    """An HDF5 file with `labels` in a group per atlas, where the voxels lie, and their signal-to-noise ratio.

    `voxel` is the flat index in C order of the volume `shape`; `affine` takes (x, y, z) to millimetres.
    """
    with arrays.writing(path) as file:
        arrays.store(file, "voxel", np.flatnonzero(mask.selected).astype(np.int32))
        arrays.store(file, "ncsnr", ncsnr)
        arrays.store(file, "shape", mask.selected.shape)
        arrays.store(file, "affine", mask.affine)
        for atlas, each in labels.items():
            arrays.store(file, f"{atlas}/labels", each)


def _read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A three-dimensional NIfTI volume and its affine."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; expected a volume of NSD's roi folder. Download it.")
    try:
        image = nib.load(path)
        assert isinstance(image, SpatialImage)
        volume = np.asarray(image.dataobj)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error}). Download it again.") from error
    if volume.ndim != 3:
        raise ValueError(f"{path} has shape {volume.shape}; expected a volume of (x, y, z).")
    return volume, np.asarray(image.affine, np.float64)


def _is_stored(dataset: h5py.Dataset, row: int) -> bool:
    """Whether a row was ever written; HDF5 reads zeros where a chunk was not."""
    if dataset.chunks is None:
        return True
    corner = (row // dataset.chunks[0] * dataset.chunks[0], *(0 for _ in dataset.shape[1:]))
    return dataset.id.get_chunk_info_by_coord(corner).byte_offset is not None


def _captions_npy(path: Path) -> np.ndarray:
    """The curated captions, a row of fixed-width texts per picture; left on disk."""
    try:
        captions = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as an array of texts ({error}). Download it again.") from error
    if captions.dtype.kind != "U" or captions.ndim != 2 or len(captions) != N_PICTURES:
        raise ValueError(f"{path} is {captions.dtype} {captions.shape}; expected texts, {N_PICTURES} rows by captions.")
    return captions


def _captions_json(path: Path) -> dict[int, list[str]]:
    """Captions of {"nsd_id": [captions]}."""
    try:
        captions = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(texts, list) for texts in captions.values()):
            raise TypeError("a value is not a list")
        return {int(nsd_id): texts for nsd_id, texts in captions.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} cannot be read as captions ({error}); expected {{"nsd_id": ["caption"]}}.') from error


def _captions_csv(path: Path) -> dict[int, list[str]]:
    """Captions of rows nsd_id,caption."""
    captions: dict[int, list[str]] = {}
    with open(path, newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        if header != ["nsd_id", "caption"]:
            raise ValueError(f"{path} has columns {header}; expected ['nsd_id', 'caption'].")
        for row in rows:
            if len(row) != 2 or not row[0].isdecimal():
                raise ValueError(f"{path} line {rows.line_num} is {row}; expected a nsd_id and a caption.")
            captions.setdefault(int(row[0]), []).append(row[1])
    return captions
