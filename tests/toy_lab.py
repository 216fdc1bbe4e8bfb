"""A toy lab's data in the plain layout of docs/your_data.md."""

import csv
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from PIL import Image

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
SHAPE = 4, 3, 2
N_TRAIN, N_TEST = 8, 3
SIDE = 64
HEADER = ("onset", "stim_file", "session", "run", "repeat", "split")


class Lab(NamedTuple):
    """Paths of a toy dataset of one subject, and the mean betas of each stimulus, masked voxels."""

    root: Path
    means: dict[str, np.ndarray]

    @property
    def trials(self) -> Path:
        return self.root / "sub-01/sub-01_trials.tsv"

    @property
    def betas(self) -> Path:
        return self.root / "sub-01/sub-01_betas.nii.gz"

    @property
    def mask(self) -> Path:
        return self.root / "sub-01/sub-01_mask.nii.gz"

    @property
    def roi(self) -> Path:
        return self.root / "sub-01/rois/V1.nii.gz"

    @property
    def stimuli(self) -> Path:
        return self.root / "stimuli"

    @property
    def captions(self) -> Path:
        return self.root / "captions.tsv"

    def rows(self) -> list[dict[str, str]]:
        with open(self.trials, newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream, delimiter="\t"))

    def write_rows(self, rows: list[dict[str, str]]) -> None:
        write_table(self.trials, list(rows[0]), [list(row.values()) for row in rows])

    def volumes(self) -> np.ndarray:
        return np.asarray(nib.load(self.betas).dataobj)

    def write_volumes(self, volumes: np.ndarray, affine: np.ndarray = AFFINE) -> None:
        nib.Nifti1Image(volumes, affine).to_filename(self.betas)


def write_lab(root: Path, seed: int = 0) -> Lab:
    """Two sessions: every image twice, then the test images a third time, and a blank trial."""
    rng = np.random.default_rng(seed)
    names = [f"set/{number:02d}.png" for number in range(N_TRAIN + N_TEST)]
    test = names[-N_TEST:]
    lab = Lab(root, {})
    for path in (lab.trials, lab.roi, lab.stimuli / names[0]):
        path.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE)).save(lab.stimuli / name)
    order = [*rng.permutation(names), *rng.permutation(names), *test]
    rows = []
    for row, name in enumerate(order):
        session, split = "01" if row < len(names) else "02", "test" if name in test else "train"
        rows.append([4 * row, name, session, 1 + row % 2, order[:row].count(name) + 1, split])
    write_table(lab.trials, HEADER, [*rows, [4 * len(rows), "n/a", "02", 2, "n/a", "n/a"]])
    volumes = rng.normal(1, 1, (*SHAPE, len(rows) + 1)).astype(np.float32)
    mask = rng.random(SHAPE) < 0.6
    mask[0, 0, :] = True, False
    lab.write_volumes(volumes)
    nib.Nifti1Image(mask.astype(np.uint8), AFFINE).to_filename(lab.mask)
    region = np.zeros(SHAPE, np.uint8)
    region[0, 0, 0] = 1
    nib.Nifti1Image(region, AFFINE).to_filename(lab.roi)
    write_table(lab.captions, ("stim_file", "caption"), [[name, f"a pattern, {name}"] for name in names])
    masked = volumes[mask].T
    lab.means.update({name: masked[[row for row, each in enumerate(order) if each == name]].mean(0) for name in names})
    return lab


def write_table(path: Path, header, rows) -> None:
    lines = ["\t".join(map(str, row)) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
