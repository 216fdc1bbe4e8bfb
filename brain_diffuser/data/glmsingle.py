"""GLMsingle's own files of results: single-trial betas as volumes in HDF5, written by Python or by MATLAB.

| program | file of type D | dataset | axes in HDF5 |
| --- | --- | --- | --- |
| Python, `wanthdf5` = 1 | TYPED_FITHRF_GLMDENOISE_RR.hdf5 | betasmd | (x, y, z, trials) |
| Python, by default | TYPED_FITHRF_GLMDENOISE_RR.npy | betasmd | a pickled dictionary, which is not read |
| MATLAB (version 7.3) | TYPED_FITHRF_GLMDENOISE_RR.mat | modelmd | (trials, z, y, x) |

Trials are in the order of the design, run after run. Values are float32, percent signal change unless `wantpercentbold`
was 0, NaN where the mean volume is 0. Data given as units by time come back with y = z = 1.

Source: GLMsingle (github.com/cvnlab/GLMsingle), glmsingle/glmsingle.py and matlab/GLMestimatesingletrial.m.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float32

from brain_diffuser.artifacts import messages, system_faults
from brain_diffuser.data import hdf5_storage, nifti, placeholders

NAMES = ("betasmd", "modelmd")
"""The dataset of single-trial betas, as Python and MATLAB name it."""

BLOCK_BYTES = 2**29
"""Of betas that are in memory at once. In Python's files trials are the innermost axis, so that each block of trials
is one more pass over the file."""

FIX: messages.Sentence = "Copy it again, or run GLMsingle again into another folder."

TYPE_D: messages.Sentence = "TYPED_FITHRF_GLMDENOISE_RR.hdf5 or .mat"


class Volumes(NamedTuple):
    """The betas of an open file, (x, y, z, trials); MATLAB's axes stand in the opposite order."""

    path: Path
    dataset: h5py.Dataset
    is_matlab: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of voxels along x, y and z."""
        x, y, z = self.dataset.shape[:0:-1] if self.is_matlab else self.dataset.shape[:3]
        return x, y, z

    @property
    def n_trials(self) -> int:
        return self.dataset.shape[0 if self.is_matlab else -1]

    @property
    def is_table(self) -> bool:
        """Whether the data were given as units by time, so that only a mask says where voxels lie."""
        return self.shape[1:] == (1, 1)

    def blocks(self, selected: Bool[np.ndarray, "x y z"]) -> Iterator[Float32[np.ndarray, "trials voxels"]]:
        """The selected voxels, in C order, of all trials in order, some trials at a time.

        Of a table all units are selected, in their order; `selected` selects as many.

        Memory: about BLOCK_BYTES, whatever the size of the file. Raises ValueError: the file is damaged.
        """
        if self.is_table:
            selected = np.ones(self.shape, bool)
        read = self._of_matlab if self.is_matlab else self._of_python
        step = self._trials_at_a_time(int(np.count_nonzero(selected)))
        for first in range(0, self.n_trials, step):
            try:
                yield read(slice(first, min(first + step, self.n_trials)), selected)
            except (OSError, RuntimeError) as error:
                system_faults.raise_if_any(error, self.path)
                raise ValueError(f"{self.path} cannot be read ({nifti.reason(error)}). {FIX}") from error

    def _of_python(self, trials: slice, selected: Bool[np.ndarray, "x y z"]) -> Float32[np.ndarray, "trials voxels"]:
        """Some trials, plane by plane: the columns of a plane stand together."""
        block = np.empty((trials.stop - trials.start, np.count_nonzero(selected)), np.float32)
        depth, done = self._planes_in_chunk(), 0
        for start in range(0, len(selected), depth):
            planes = slice(start, start + depth)
            n_voxels = np.count_nonzero(selected[planes])
            if n_voxels:
                values = self.dataset[planes, :, :, trials]
                block[:, done : done + n_voxels] = values[selected[planes]].T
                done += n_voxels
        return block

    def _of_matlab(self, trials: slice, selected: Bool[np.ndarray, "x y z"]) -> Float32[np.ndarray, "trials voxels"]:
        """Some trials, volume by volume."""
        places = np.ravel_multi_index(np.nonzero(selected)[::-1], self.shape[::-1])
        values = self.dataset[trials]
        return np.take(values.reshape(len(values), -1), places, axis=1).astype(np.float32, copy=False)

    def _planes_in_chunk(self) -> int:
        """How many planes of Python's file are stored together."""
        return self.dataset.chunks[0] if self.dataset.chunks else 1

    def _trials_at_a_time(self, n_voxels: int) -> int:
        """The trials of a block: whole chunks of them, unless one chunk alone takes more than BLOCK_BYTES."""
        x, y, z = self.shape
        in_chunk = self.dataset.chunks[0 if self.is_matlab else -1] if self.dataset.chunks else 1
        n_read = x * y * z if self.is_matlab else self._planes_in_chunk() * y * z
        most = max(1, BLOCK_BYTES // (4 * n_voxels + self.dataset.dtype.itemsize * n_read))
        return most // in_chunk * in_chunk or most


def wrote(path: Path) -> bool:
    """Whether a file is one of GLMsingle's results, by its ending, its datasets, or as a pickled dictionary."""
    if path.suffix == ".mat":
        return True
    if path.suffix == ".npy":
        return _is_pickled(path)
    if path.suffix not in (".h5", ".hdf5"):
        return False
    try:
        with h5py.File(path) as file:
            return any(name in file for name in NAMES)
    except OSError:  # the reader of the other form has a sentence for it
        return False


@contextmanager
def opening(path: Path) -> Iterator[Volumes]:
    """Open the single-trial betas of a file.

    Raises FileNotFoundError: no such file. ValueError: a pickled dictionary, unreadable, without single-trial betas, or
    a part of them was never written.
    """
    placeholders.refuse(path, "a file of results of GLMsingle", FIX)
    if _is_pickled(path):
        raise ValueError(f"{path} {pickled(path)}")
    try:
        file = h5py.File(path)
    except OSError as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} {_what_is_no_hdf5(path, error)}") from error
    with file:
        name, dataset = _single_trials(path, file)
        hdf5_storage.check_sources(dataset)
        volumes = Volumes(path, dataset, "MATLAB_class" in dataset.attrs or path.suffix == ".mat")
        _check(volumes, name)
        yield volumes


def pickled(path: Path) -> messages.Sentence:
    """What a pickled dictionary is, why it is not read, and how it is converted, as the end of a sentence."""
    target = path.with_suffix(".hdf5").name
    return (
        "is a dictionary that numpy.save has pickled, and unpickling runs whatever program a file names, so it is not "
        f"read; set wanthdf5 to 1 in GLMsingle, or convert it where you trust it, in two lines of Python: "
        f'import h5py, numpy; betas = numpy.load("{path.name}", allow_pickle=True).item()["betasmd"] and '
        f'h5py.File("{target}", "w").create_dataset("betasmd", data=betas)'
    )


def _is_pickled(path: Path) -> bool:
    """Whether a file is a .npy file of Python's objects, which its header says."""
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return header(stream)[2].hasobject
    except (OSError, ValueError):
        return False


def _what_is_no_hdf5(path: Path, error: OSError) -> messages.Sentence:
    """What a file is that HDF5 cannot open, as the end of a sentence."""
    with open(path, "rb") as stream:
        head = stream.read(10)
    if head == b"MATLAB 5.0":
        return (
            "is a MATLAB file of version 5 to 7; expected 7.3, as GLMsingle saves it, so save it in MATLAB with -v7.3"
        )
    return f"cannot be read as HDF5 ({nifti.reason(error)}). {FIX}"


def _single_trials(path: Path, file: h5py.File) -> tuple[str, h5py.Dataset]:
    """The name and the dataset of single-trial betas."""
    for name in NAMES:
        dataset = hdf5_storage.find(file, name)
        if dataset is not None:
            break
    else:
        names = ", ".join(sorted(map(str, file))) or "nothing"
        raise ValueError(f"{path} lacks a dataset betasmd or modelmd; it has {names}; give GLMsingle's {TYPE_D}")
    if dataset.shape is None or dataset.dtype.kind not in "iuf" or len(dataset.shape) != 4 or 0 in dataset.shape:
        what = f"{dataset.dtype} of shape {dataset.shape}" if dataset.dtype.kind != "O" else "a cell array"
        raise ValueError(
            f"{path}: {name} is {what}; expected numbers of (x, y, z, trials). A file of type A has one beta for all "
            f"trials, so give {TYPE_D}"
        )
    return name, dataset


def _check(volumes: Volumes, name: str) -> None:
    """Raise if there are more voxels than any brain has, or a part of the betas was never written."""
    if math.prod(volumes.shape) > nifti.MAX_VOXELS:
        raise ValueError(
            f"{volumes.path}: {name} has volumes of {volumes.shape}; expected at most {nifti.MAX_VOXELS} voxels. {FIX}"
        )
    hole = hdf5_storage.Written(volumes.dataset).first_hole()
    if hole is not None:
        *voxel, trial = hole[::-1] if volumes.is_matlab else hole
        raise ValueError(
            f"{volumes.path}: {name} was never written from voxel {tuple(voxel)} on in trial {trial} (from 0), as if "
            f"GLMsingle was stopped while it saved. {FIX}"
        )
