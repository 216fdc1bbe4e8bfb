"""Where the numbers of an HDF5 dataset lie: those that were never written or have lost their file read as zeros."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np

MAX_CHUNKS = 2**28
"""A session of NSD in chunks of a voxel has 700,000."""


class IncompleteError(ValueError):
    """Numbers of a dataset, or a file that has some of them, are missing; its words are a whole sentence."""


def find(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The dataset of that name; None if there is none.

    Raises IncompleteError: the name is a link whose target is missing.
    """
    try:
        item = file[name]
    except (KeyError, RuntimeError, OSError) as error:
        link = _link(file, name)
        if isinstance(link, h5py.ExternalLink):
            raise IncompleteError(
                f"{file.filename}: {name} is a link to {link.path} in {link.filename}, which cannot be read; put that "
                "file back, or write the numbers into one file"
            ) from error
        if isinstance(link, h5py.SoftLink):
            why = "leads back to itself" if "too many" in str(error) else "is not in the file"
            raise IncompleteError(
                f"{file.filename}: {name} is a link to {link.path}, which {why}; write it again"
            ) from error
        if link is None:
            return None
        raise IncompleteError(f"{file.filename}: {name} cannot be opened ({error}); write it again") from error
    return item if isinstance(item, h5py.Dataset) else None


def check_sources(dataset: h5py.Dataset, seen: frozenset[tuple[str, str]] = frozenset()) -> None:
    """Raise if a file is missing or too short that a virtual or external dataset takes its numbers from.

    Sources are themselves looked through for parts that were never written. No numbers are read.

    Raises IncompleteError: a source is missing, lacks its dataset or a part of it.
    """
    path, name = dataset.file.filename, str(dataset.name)
    where = f"{path}: {name.lstrip('/')}"
    left = math.prod(dataset.shape) * dataset.dtype.itemsize
    for raw, offset, n_bytes in dataset.external or ():
        there = Path(raw).stat().st_size if Path(raw).is_file() else None
        needed = offset + min(n_bytes, left)
        left -= min(n_bytes, left)
        if there is None or there < needed:
            has = "is missing" if there is None else f"has {there} bytes instead of {needed}"
            raise IncompleteError(f"{where} has its numbers in {raw}, which {has}; put the whole file back")
    if not dataset.is_virtual:
        return
    seen |= {(os.path.realpath(path), name)}
    n_covered, size = 0, math.prod(dataset.shape)
    for source in dataset.virtual_sources():
        if "%b" in source.file_name + source.dset_name:
            n_covered = size  # numbered sources: the shape of the dataset grows with those that are there
            continue
        n_covered += source.vspace.get_select_npoints()
        with _source_file(dataset.file, source.file_name, where) as file:
            found = find(file, source.dset_name)
            if found is None or (os.path.realpath(file.filename), str(found.name)) in seen:
                what = "the file lacks" if found is None else "is made of the dataset itself"
                raise IncompleteError(
                    f"{where} takes numbers from {source.dset_name} in {file.filename}, which {what}; write it again"
                )
            check_sources(found, seen)
            _check_part(found, source, where)
    if n_covered < size:
        raise IncompleteError(
            f"{where} takes {n_covered} of its {size} numbers from other files, the others from none; write it again"
        )


class Written:
    """Which numbers of a dataset were ever written, from one pass over the index of its chunks.

    What a virtual dataset takes from other files is left to `check_sources`. A dataset in one piece is written as a
    whole or not at all, as far as its file says.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        layout = dataset.id.get_create_plist().get_layout()
        self.shape = dataset.shape
        self.chunk = dataset.chunks or self.shape
        self.chunks: np.ndarray | None = None  # None: all are there
        if not math.prod(self.shape) or dataset.external or layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            return
        counts = [-(-size // step) for size, step in zip(self.shape, self.chunk, strict=True)]
        if layout == h5py.h5d.CONTIGUOUS:
            if dataset.id.get_offset() is None:
                self.chunks = np.zeros(counts, bool)
        elif dataset.id.get_num_chunks() < math.prod(counts):
            if math.prod(counts) > MAX_CHUNKS:
                raise IncompleteError(
                    f"{dataset.file.filename}: {str(dataset.name).lstrip('/')} lacks chunks, of which it has "
                    f"{dataset.id.get_num_chunks()} of {math.prod(counts)}; write it again"
                )
            self.chunks = np.zeros(counts, bool)
            dataset.id.chunk_iter(self._note)

    def _note(self, chunk: Any) -> None:
        assert self.chunks is not None
        self.chunks[tuple(start // step for start, step in zip(chunk.chunk_offset, self.chunk, strict=True))] = True

    def first_hole(self, part: Sequence[slice] = ()) -> tuple[int, ...] | None:
        """The place of the first number in a part of the dataset that was never written; None if all were."""
        if self.chunks is None:
            return None
        ranges = [range(*(part[axis].indices(n) if axis < len(part) else (n,))) for axis, n in enumerate(self.shape)]
        first = [indices.start // step for indices, step in zip(ranges, self.chunk, strict=True)]
        end = [-(-indices.stop // step) for indices, step in zip(ranges, self.chunk, strict=True)]
        chunks = self.chunks[tuple(map(slice, first, end))]
        if chunks.all():
            return None
        hole = np.unravel_index(np.argmin(chunks), chunks.shape)
        places = zip(map(int, hole), first, self.chunk, ranges, strict=True)
        return tuple(max((hole + start) * step, indices.start) for hole, start, step, indices in places)


def _link(file: h5py.File, name: str) -> Any:
    """The link of that name, whether or not it leads anywhere."""
    try:
        return file.get(name, getlink=True) if name in list(file) else None
    except (KeyError, RuntimeError):
        return None


def _source_file(file: h5py.File, name: str, where: str) -> AbstractContextManager[h5py.File]:
    """The open file of a source, searched where HDF5 does. Raises IncompleteError: it cannot be opened."""
    for path in _candidates(Path(file.filename).parent, Path(name)):
        if name == "." or os.path.realpath(path) == os.path.realpath(file.filename):
            return nullcontext(file)  # closing it a second time would close the dataset
        if path.is_file():
            try:
                return h5py.File(path)
            except OSError as error:
                raise IncompleteError(f"{where} takes numbers from {path}, which cannot be opened ({error})") from error
    raise IncompleteError(
        f"{where} takes numbers from {name}, which is missing; put that file back, or write all into one file"
    )


def _candidates(folder: Path, name: Path) -> Iterator[Path]:
    prefix = os.environ.get("HDF5_VDS_PREFIX")
    if prefix:
        yield Path(prefix.replace("${ORIGIN}", str(folder)), name)
    yield from (folder / name, name, folder / name.name)


def _check_part(source: h5py.Dataset, taken: Any, where: str) -> None:
    """Raise if the part of a source that is taken was never written, or lies outside of it."""
    try:
        first, last = taken.src_space.get_select_bounds()
        part = [slice(start, stop + 1) for start, stop in zip(first, last, strict=True)]
    except (RuntimeError, ValueError):  # a selection without end
        part = [slice(0, size) for size in source.shape]
    given = f"{where} takes numbers from {str(source.name).lstrip('/')} in {source.file.filename}"
    fits = len(part) == source.ndim and all(each.stop <= size for each, size in zip(part, source.shape, strict=True))
    if not fits or math.prod(source.shape) < taken.vspace.get_select_npoints():
        raise IncompleteError(f"{given}, which has shape {source.shape} and lacks a part of them; write it again")
    hole = Written(source).first_hole(part)
    if hole is not None:
        raise IncompleteError(f"{given}, which was never written at {list(hole)}; write it again")
