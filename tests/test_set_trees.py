"""NSD-Imagery and NSD-synthetic at toy size, written from their descriptions by code that no reader shares.

The rows of the betas, the cue letters and the names of files stand here once more, in another form than in the readers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel as nib
import numpy as np
from PIL import Image
from scipy.io import savemat

AFFINE = np.array([[-1.8, 0, 0, 80], [0, 1.8, 0, -100], [0, 0, 1.8, -70], [0, 0, 0, 1]])
FIRST_ROW = {  # of runs that are used; 48 rows each
    "visA": 0, "imgA_1": 144, "visB": 192, "imgB_1": 336, "visC": 384,
    "imgC_1": 528, "imgA_2": 576, "imgB_2": 624, "imgC_2": 672,
}  # fmt: skip
ATTENTION = {"attA": 48, "attB": 240, "attC": 432}  # 96 betas of 48 trials
LETTERS = {"A": "HRVLPE", "B": "WKBCDT", "C": "SZMYNF"}
FILES_A = ["bar_000.0deg", "bar_045.0deg", "bar_090.0deg", "bar_135.0deg", "crs_000.0deg", "crs_045.0deg"]
FILES_B = [
    *("shared0385_nsd28752", "shared0413_nsd30857", "shared0741_nsd53882", "shared0842_nsd61178"),
    *("shared0907_nsd65873", "shared0000_nsd00000"),
]
FOLDERS = {"b2": "fithrf", "b3": "fithrf_GLMdenoise_RR"}


class Imagery(NamedTuple):
    """Paths of the session, the betas of its rows as stored, and the cue of each row that shows one."""

    betas: Path
    runs: Path
    images: Path
    stored: np.ndarray
    cues: dict[int, str]

    def run(self, name: str) -> Path:
        return self.runs / f"nsdimagery_subj01_{name}.tsv"


def write_imagery(
    root: Path,
    shape: tuple[int, int, int],
    response: Callable[[str, str], np.ndarray],
    *,
    version: str = "b3",
    formats: tuple[str, ...] = ("hdf5", "nii.gz"),
    seed: int = 3,
) -> Imagery:
    """Write one subject's session.

    `response(run, cue)` is the response (x, y, z) in percent signal change; each row has noise on it.
    """
    rng = np.random.default_rng(seed)
    betas = root / f"nsddata_betas/ppdata/subj01/func1pt8mm/nsdimagerybetas_{FOLDERS[version]}"
    experiment = root / "nsddata/experiments/nsdimagery/rawtargetimages"
    runs = root / "nsddata/bdata/nsdimagery"
    for folder in (betas, experiment / "setA", experiment / "setB", runs):
        folder.mkdir(parents=True, exist_ok=True)
    stored, cues = np.zeros((720, *shape), np.int16), {}
    for run, first in (FIRST_ROW | ATTENTION).items():
        order = rng.permutation(list(LETTERS[run[3]] * 8))
        lines = ["TRIAL\tCONDITION\tVIVIDNESS", *(f"{n + 1}\t{cue}\t{n % 4 + 1}" for n, cue in enumerate(order))]
        (runs / f"nsdimagery_subj01_{run}.tsv").write_text("\n".join(lines) + "\n")
        per_trial = 2 if run in ATTENTION else 1
        for place, cue in enumerate(np.repeat(order, per_trial).tolist()):
            # attention rows are far off, so that nothing may read them
            mean = response(run, cue) if per_trial == 1 else np.full(shape, 40.0)
            stored[first + place] = np.rint(300 * (mean + rng.normal(0, 0.3, shape)))
            if per_trial == 1:
                cues[first + place] = cue
    write_betas(betas / "betas_nsdimagery", stored, formats)
    for name, stems, ending in (("A", FILES_A, "_450L_43W.png"), ("B", FILES_B, ".png")):
        for number, stem in enumerate(stems):
            coarse = np.random.default_rng([seed, number, ord(name)]).integers(0, 256, (5, 5, 3), np.uint8)
            Image.fromarray(coarse.repeat(9, 0).repeat(9, 1)).save(experiment / f"set{name}" / f"{stem}{ending}")
    return Imagery(betas, runs, experiment, stored, cues)


class Synthetic(NamedTuple):
    """Paths of the session, the betas of its rows as stored, the stimulus of each row, from 1, and the images."""

    betas: Path
    design: Path
    stimuli: Path
    own: Path
    stored: np.ndarray
    ordering: np.ndarray
    images: dict[int, np.ndarray]


def write_synthetic(
    root: Path,
    shape: tuple[int, int, int],
    shown: tuple[int, ...],
    response: Callable[[int], np.ndarray],
    *,
    size: tuple[int, int] = (21, 40),
    formats: tuple[str, ...] = ("hdf5",),
    seed: int = 4,
) -> Synthetic:
    """Write one subject's session that shows some of the 284 stimuli, of a size of its own."""
    rng = np.random.default_rng(seed)
    betas = root / "nsddata_betas/ppdata/subj01/func1pt8mm/nsdsyntheticbetas_fithrf_GLMdenoise_RR"
    design = root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"
    stimuli = root / "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5"
    for folder in (betas, design.parent, stimuli.parent):
        folder.mkdir(parents=True, exist_ok=True)
    ordering = rng.permutation(np.resize(np.array(shown), 744))
    savemat(design, {"masterordering": ordering[None].astype(float), "stimpattern": np.zeros((1, 8))})
    stored = np.stack([np.rint(300 * (response(int(each)) + rng.normal(0, 0.3, shape))) for each in ordering])
    stored = stored.astype(np.int16)
    write_betas(betas / "betas_nsdsynthetic", stored, formats)
    images = {}
    own = stimuli.with_name("nsdsynthetic_colorstimuli_subj01.hdf5")
    for path, first, count in ((stimuli, 1, 220), (own, 221, 64)):
        with h5py.File(path, "w") as file:
            brick = file.create_dataset("imgBrick", (count, *size, 3), np.uint8, chunks=(1, *size, 3))
            for each in shown:
                if first <= each < first + count:
                    images[each] = rng.integers(0, 256, (*size, 3), np.uint8)
                    brick[each - first] = images[each]
    return Synthetic(betas, design, stimuli, own, stored, ordering, images)


def write_betas(stem: Path, stored: np.ndarray, formats: tuple[str, ...]) -> None:
    """Rows (rows, x, y, z) as h5py sees NSD's HDF5, (rows, z, y, x), and as NIfTI (x, y, z, rows)."""
    if "hdf5" in formats:
        with h5py.File(f"{stem}.hdf5", "w") as file:
            file.create_dataset("betas", data=stored.transpose(0, 3, 2, 1), chunks=(len(stored), 1, 1, 1))
    if "nii.gz" in formats:
        nib.Nifti1Image(stored.transpose(1, 2, 3, 0), AFFINE).to_filename(f"{stem}.nii.gz")
