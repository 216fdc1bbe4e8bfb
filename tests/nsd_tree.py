"""A toy subject in the layout, names, types and orientations of the published NSD files."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel as nib
import numpy as np
from scipy.io import savemat

AFFINE = np.array([[-1.8, 0, 0, 80], [0, 1.8, 0, -100], [0, 0, 1.8, -70], [0, 0, 0, 1]])
ATLASES = ("prf-visualrois", "prf-eccrois", "floc-faces", "floc-words", "floc-places", "floc-bodies", "streams")
N_IMAGES = 73_000


class Tree(NamedTuple):
    """Paths of the toy subject, and what was written: 0-based ids and 1-based ranks of all trials in all sessions."""

    expdesign: Path
    betas: Path
    rois: Path
    stimulus_file: Path
    captions: Path
    nsd_id: np.ndarray
    rank: np.ndarray
    mask: np.ndarray

    @property
    def nsdgeneral(self) -> Path:
        return self.rois / "nsdgeneral.nii.gz"

    def session(self, number: int, suffix: str = "nii.gz") -> Path:
        return self.betas / f"betas_session{number:02d}.{suffix}"


def write_tree(
    root: str | Path,
    *,
    subject: int = 1,
    sessions: int = 1,
    trials_per_session: int = 750,
    shape: tuple[int, int, int] = (6, 5, 4),
    n_train: int = 16,
    n_test: int = 8,
    formats: Sequence[str] = ("nii.gz", "hdf5"),
    betas: Callable[[int, np.ndarray], np.ndarray] | None = None,
    images: Mapping[int, np.ndarray] | None = None,
    image_size: int = 425,
    captions: Mapping[int, Sequence[str]] | None = None,
    captions_format: str = "json",
    seed: int = 0,
) -> Tree:
    """Write the tree of one subject who sees `n_train` + `n_test` images over and over, in random order.

    `betas(session_number, nsd_id of its trials)` gives a volume (x, y, z, trials); without it, it is int16 noise over a
    random response per image. `images` and `captions` are by 0-based id, which `toy_ids` tells beforehand; ids
    without one get a random one.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    lists = _subject_lists(seed)
    ranks = _shown_ranks(seed, n_train, n_test)
    n_trials = sessions * trials_per_session
    ordering = np.resize(ranks, 30_000)
    ordering[:n_trials] = rng.permutation(np.resize(rng.permutation(ranks), n_trials))
    rank, nsd_id = ordering[:n_trials], lists[subject - 1, ordering[:n_trials] - 1] - 1

    name = f"subj{subject:02d}"
    tree = Tree(
        expdesign=root / "nsddata/experiments/nsd/nsd_expdesign.mat",
        betas=root / f"nsddata_betas/ppdata/{name}/func1pt8mm/betas_fithrf_GLMdenoise_RR",
        rois=root / f"nsddata/ppdata/{name}/func1pt8mm/roi",
        stimulus_file=root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5",
        captions=root / "annots" / f"COCO_73k_annots_curated.{captions_format}",
        nsd_id=nsd_id,
        rank=rank,
        mask=_write_rois(root / f"nsddata/ppdata/{name}/func1pt8mm/roi", shape, rng),
    )
    for path in (tree.expdesign, tree.betas / "any", tree.stimulus_file, tree.captions):
        path.parent.mkdir(parents=True, exist_ok=True)
    savemat(tree.expdesign, {"masterordering": ordering[None], "subjectim": lists, "sharedix": lists[:1, :1000]})
    response = {each: rng.normal(0, 300, shape) for each in np.unique(nsd_id).tolist()}
    for number in range(1, sessions + 1):
        shown = nsd_id[(number - 1) * trials_per_session : number * trials_per_session]
        if betas is None:
            mean = np.stack([response[each] for each in shown.tolist()], axis=-1)
            volume = np.clip(rng.normal(mean, 300), -32768, 32767).astype(np.int16)
        else:
            volume = betas(number, shown)
        write_session(tree, number, volume, formats)
    _write_images(tree.stimulus_file, response, images or {}, image_size, rng)
    _write_captions(tree.captions, {each: (captions or {}).get(each, [f"picture {each}"]) for each in response})
    return tree


def toy_ids(seed: int = 0, subject: int = 1, n_train: int = 16, n_test: int = 8) -> list[int]:
    """The 0-based ids that `write_tree` shows, in no order."""
    return (_subject_lists(seed)[subject - 1, _shown_ranks(seed, n_train, n_test) - 1] - 1).tolist()


def write_session(tree: Tree, number: int, volume: np.ndarray, formats: Sequence[str] = ("nii.gz", "hdf5")) -> None:
    """Betas of one session, (x, y, z, trials), under their published names."""
    if "nii.gz" in formats:
        nib.Nifti1Image(volume, AFFINE).to_filename(tree.session(number))
    if "hdf5" in formats:
        with h5py.File(tree.session(number, "hdf5"), "w") as file:
            file.create_dataset("betas", data=volume.T, chunks=(len(volume.T), 1, 1, 1))


def _subject_lists(seed: int) -> np.ndarray:
    """(8, 10000) 1-based ids: 1000 that all subjects share, then 9000 of their own."""
    ids = np.random.default_rng([seed, 1]).permutation(N_IMAGES).astype(np.int32) + 1
    return np.concatenate([np.tile(ids[:1000], (8, 1)), ids[1000:].reshape(8, 9000)], axis=1)


def _shown_ranks(seed: int, n_train: int, n_test: int) -> np.ndarray:
    """The 1-based ranks that are shown, of which up to 1000 are test."""
    rng = np.random.default_rng([seed, 2])
    return np.concatenate(
        [
            rng.choice(np.arange(1, 1001), n_test, replace=False),
            rng.choice(np.arange(1001, 10_001), n_train, replace=False),
        ]
    )


def _write_rois(folder: Path, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """nsdgeneral and the atlases; returns the mask of nsdgeneral."""
    folder.mkdir(parents=True, exist_ok=True)
    general = rng.choice(np.array([-1, 0, 1], np.int16), shape, p=[0.2, 0.3, 0.5])
    general[0, 0, 0], general[-1, -1, -1] = 1, -1
    nib.Nifti1Image(general, AFFINE).to_filename(folder / "nsdgeneral.nii.gz")
    for atlas in ATLASES:
        labels = rng.integers(-1, 8, shape).astype(np.int16)
        nib.Nifti1Image(labels, AFFINE).to_filename(folder / f"{atlas}.nii.gz")
    return general > 0


def _write_images(path: Path, ids, images: Mapping[int, np.ndarray], size: int, rng: np.random.Generator) -> None:
    """Write the stimulus file of all images, of which only those shown take space; several subjects share it."""
    with h5py.File(path, "a") as file:
        shape = N_IMAGES, size, size, 3
        stimulus_file = file.require_dataset("imgBrick", shape, np.uint8, exact=True, chunks=(1, size, size, 3))
        tile = -(-size // 8)
        for each in ids:
            coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
            random = coarse.repeat(tile, 0).repeat(tile, 1)[:size, :size]
            stimulus_file[each] = images.get(each, random)


def _write_captions(path: Path, captions: Mapping[int, Sequence[str]]) -> None:
    if path.suffix == ".json":
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(before | {str(each): list(texts) for each, texts in captions.items()}))
    elif path.suffix == ".csv":
        rows = [f'{each},"{text}"' for each, texts in captions.items() for text in texts]
        path.write_text("\n".join(["nsd_id,caption", *rows, ""]))
    else:
        curated = np.lib.format.open_memmap(path, "w+", "<U32", (N_IMAGES, 5))
        for each, texts in captions.items():
            curated[each, : len(texts)] = texts
