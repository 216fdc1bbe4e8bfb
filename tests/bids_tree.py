"""A toy lab's dataset as BIDS and GLMsingle lay it out, written from their documentation by code that reads none of it.

Two sessions, 2 and 10, of two runs. Every image is shown twice and those of the test a third time; events also have
rest and responses without a stimulus, and one run's lines are not in order of onset.
"""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel as nib
import numpy as np
from PIL import Image

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
SHAPE = 5, 4, 3
N_TRAIN, N_TEST = 8, 3
SIDE = 64
RUNS = [("2", "1"), ("2", "2"), ("10", "1"), ("10", "2")]
GLMSINGLE = "derivatives/glmsingle/sub-01"
MATLAB_HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Nov 30 12:00:00 2026 HDF5 schema 1.00 ."


class Tree(NamedTuple):
    """A dataset of one subject: what each trial showed, in order, and its betas."""

    root: Path
    shown: list[str]
    session: list[str]
    betas: np.ndarray  # (x, y, z, trials)
    mask: np.ndarray

    def means(self) -> dict[str, np.ndarray]:
        """The mean betas of each image, masked voxels in C order."""
        masked = self.betas[self.mask].T
        return {
            name: masked[[row for row, each in enumerate(self.shown) if each == name]].mean(0)
            for name in set(self.shown)
        }

    def events(self, session: str, run: str) -> Path:
        name = f"sub-01_ses-{session}_task-images_run-{run}_events.tsv"
        return self.root / f"sub-01/ses-{session}/func/{name}"

    @property
    def results(self) -> Path:
        return self.root / GLMSINGLE / "TYPED_FITHRF_GLMDENOISE_RR.hdf5"

    @property
    def mask_file(self) -> Path:
        return self.root / GLMSINGLE / "brainmask.nii.gz"

    def lines(self, session: str, run: str) -> list[list[str]]:
        with open(self.events(session, run), newline="", encoding="utf-8") as stream:
            return list(csv.reader(stream, delimiter="\t"))

    def write_lines(self, session: str, run: str, lines: list[list[str]]) -> None:
        with open(self.events(session, run), "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(lines)


def write_tree(root: Path, seed: int = 0) -> Tree:
    rng = np.random.default_rng(seed)
    names = [f"{kind}/{kind}{number:02d}.png" for number, kind in enumerate(("castle", "sea") * N_TRAIN)]
    names = names[: N_TRAIN + N_TEST]
    test = names[-N_TEST:]
    for name in names:
        path = root / "stimuli" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((SIDE, SIDE)).save(path)
    order = [*rng.permutation(names).tolist(), *rng.permutation(names).tolist(), *test]
    session = []
    parts = np.array_split(np.arange(len(order)), len(RUNS))
    mask = rng.random(SHAPE) < 0.6
    tree = Tree(root, order, session, rng.normal(1, 2, (*SHAPE, len(order))).astype(np.float32), mask)
    for (ses, run), rows in zip(RUNS, parts, strict=True):
        session += [ses] * len(rows)
        _write_run(tree, ses, run, [order[row] for row in rows], test)
    tree.betas[~mask] = np.nan
    (root / GLMSINGLE).mkdir(parents=True)
    nib.Nifti1Image(mask.astype(np.uint8), AFFINE).to_filename(tree.mask_file)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "toy", "BIDSVersion": "1.9.0"}))
    (root / "task-images_events.json").write_text(json.dumps({"split": {"Levels": {"train": "", "test": ""}}}))
    write_python(tree.results, tree.betas)
    return tree


def _write_run(tree: Tree, session: str, run: str, shown: list[str], test: list[str]) -> None:
    lines = [["0.0", "2.0", "rest", "n/a", "n/a", "n/a"]]
    for number, name in enumerate(shown):
        split = "test" if name in test else "train"
        lines.append([f"{4 + 4.25 * number}", "3.0", "image", "n/a", name, split])
        if number % 3 == 1:
            lines.append([f"{5.5 + 4.25 * number}", "0.0", "response", "0.71", "n/a", "n/a"])
    if (session, run) == RUNS[1]:
        lines = lines[::-1]
    tree.events(session, run).parent.mkdir(parents=True, exist_ok=True)
    header = ["onset", "duration", "trial_type", "response_time", "stim_file", "split"]
    tree.write_lines(session, run, [header, *lines])


def others(betas: np.ndarray) -> dict[str, np.ndarray]:
    """What GLMsingle saves beside the betas of type D."""
    space = betas.shape[:-1]
    return {
        "HRFindex": np.ones(space, np.int64),
        "R2": np.full(space, 12.5, np.float32),
        "R2run": np.full((*space, len(RUNS)), 12.5, np.float32),
        "rrbadness": np.ones((*space, 20), np.float32),
        "FRACvalue": np.full(space, 0.4, np.float32),
        "scaleoffset": np.ones((*space, 2), np.float32),
        "noisepool": np.zeros(space, bool),
        "meanvol": np.full(space, 900, np.float32),
        "pcnum": np.array(3),
    }


def write_python(path: Path, betas: np.ndarray, **options) -> None:
    """As Python's GLMsingle writes it with wanthdf5 = 1."""
    with h5py.File(path, "w") as file:
        for name, values in others(betas).items():
            file.create_dataset(name, data=values)
        file.create_dataset("betasmd", data=betas, **options)
        file.create_dataset("xvaltrend", data=h5py.Empty("f"))


def write_matlab(path: Path, betas: np.ndarray, **options) -> None:
    """As MATLAB's GLMsingle saves it with -v7.3: the axes in the opposite order, in a file with MATLAB's header."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in (others(betas) | {"modelmd": betas}).items():
            stored = np.asarray(values).T
            kinds = {"modelmd": options} if name == "modelmd" else {}
            dataset = file.create_dataset(name, data=stored, **kinds.get(name, {}))
            kind = {"f": "single", "b": "logical"}.get(stored.dtype.kind, "double")
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        cell = file.create_dataset("#refs#/a", data=np.ones((3, 8), np.float32))
        references = np.array([[cell.ref]], h5py.ref_dtype)
        file.create_dataset("pcregressors", data=references).attrs["MATLAB_class"] = np.bytes_("cell")
    with open(path, "r+b") as stream:
        stream.write(MATLAB_HEADER.ljust(124) + b"\x00\x02IM")
