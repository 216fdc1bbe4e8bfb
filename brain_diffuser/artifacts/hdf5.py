"""HDF5 arrays with one row per stimulus and the nsd_id of each row; files are written whole or not at all."""

import errno
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Int, Int32, Shaped

from brain_diffuser.artifacts import finite, messages, system_faults
from brain_diffuser.artifacts.new_file import NewFile

CHUNK_BYTES = 2**20
CHECKSUM = 4  # bytes of Fletcher's, at the end of a chunk
PLAIN = "plain_chunks"  # the attribute of a file that says how many of its chunks are zeros
NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS, errno.EACCES)
"""What file systems answer that cannot store a folder's names at once; EACCES, where it may be written but not read."""
OF_FOLDERS = ".snakemake_timestamp"  # Snakemake's, in every folder that is an artifact
CACHE_BYTES = 8 * CHUNK_BYTES  # of chunks, for access by whole columns; access by rows needs no cache


class StimulusArray(NamedTuple):
    """An array with one row per stimulus, and the id of each row, counted from 0."""

    values: Shaped[np.ndarray, "stimuli ..."]
    nsd_id: Int32[np.ndarray, " stimuli"]


class FiniteDataset(h5py.Dataset):
    """A dataset with one row per stimulus that takes no number which is not finite, and no real number for a whole one.

    Parameters
    ----------
    dataset : h5py.Dataset
    path : path
        The artifact, for the message.
    nsd_id : (stimuli,)
        The id of each row.
    new_file : NewFile
        What the file's bytes go through; that they could not be written is said at once.
    """

    def __init__(self, dataset: h5py.Dataset, path: str | Path, nsd_id: Int[np.ndarray, " stimuli"], new_file: NewFile):
        super().__init__(dataset.id)
        self._new_file = new_file
        self.path, self.nsd_id = re.sub(r"\.part-\d+$", "", str(path)), np.asarray(nsd_id)

    def __setitem__(self, args: Any, val: Any) -> None:
        """Write rows, those of the first axis of `val`.

        Raises ValueError: numbers that are not finite in the dataset's precision, or that would be cut to whole ones.
        OSError: they cannot be written.
        """
        values = np.asarray(val)
        if values.dtype.kind == "f":
            first = args[0] if isinstance(args, tuple) else args
            nsd_id = np.atleast_1d(self.nsd_id[first])
            values = values if values.ndim and len(values) == len(nsd_id) else values[None]
            self._check(values, nsd_id[: len(values)])
        super().__setitem__(args, val)
        self._new_file.check()

    def _check(self, values: np.ndarray, nsd_id: np.ndarray) -> None:
        if self.dtype.kind in "iu":
            raise ValueError(
                f"{self.path}, nsd_id {nsd_id[0]}: got {values.dtype}, and the file holds {self.dtype}; round what is "
                "known to be finite, and convert it"
            )
        with np.errstate(over="ignore"):
            stored = values.astype(self.dtype, copy=False)
        rows = finite.rows_not_finite(stored)
        if not rows:
            return
        value = float(values[rows[0]][~np.isfinite(stored[rows[0]])][0])
        fix = "Check what it was computed from."
        if np.isfinite(value):
            fix = f"It was {value:g}, and {self.dtype} ends at {np.finfo(self.dtype).max:g}."
        first = finite.first_not_finite(stored[rows[0]])
        raise finite.NotFinite(f"what was computed ({self.dtype})", rows, first, fix).of(self.path, nsd_id)


def save(
    path: str | Path,
    values: Shaped[np.ndarray, "stimuli ..."],
    nsd_id: Int[np.ndarray, " stimuli"],
    *,
    axes: Sequence[str] = (),
    unit: str = "",
    attrs: Mapping[str, Any] | None = None,
    flatten: bool = True,
) -> None:
    """Write an array in its own dtype. The arguments are those of `create`."""
    with create(path, values.shape, values.dtype, nsd_id, axes=axes, unit=unit, attrs=attrs, flatten=flatten) as stored:
        stored[...] = values.reshape(stored.shape)


@contextmanager
def create(
    path: str | Path,
    shape: Sequence[int],
    dtype: Any,
    nsd_id: Int[np.ndarray, " stimuli"],
    *,
    axes: Sequence[str] = (),
    unit: str = "",
    attrs: Mapping[str, Any] | None = None,
    chunk: tuple[int, ...] | None = None,
    flatten: bool = True,
    by_columns: bool = False,
) -> Iterator[h5py.Dataset]:
    """Open a new file and yield its dataset `values`, to be filled by blocks of rows or of columns of finite numbers.

    The file takes its name when the block ends without an error.

    Parameters
    ----------
    path
        The file.
    shape
        (stimuli, ...).
    dtype
        The type of the numbers, which are stored as they are.
    nsd_id : (stimuli,)
        The id of each row.
    axes
        Names of all axes but the first.
    unit
        The unit of the numbers.
    attrs
        What made the array; kept as JSON.
    chunk
        Shape of a chunk, if not that of `feature_chunks`.
    flatten
        True stores (stimuli, features) in C order, so that blocks of columns can be streamed. False stores the array as
        it is, one row per chunk, which suits images.
    by_columns
        True if whole columns will be written: whole chunks are then cached, which is three times faster.

    Raises
    ------
    ValueError
        There are not as many ids as rows, or a number that is not finite; see `FiniteDataset`.
    """
    n_rows, *row_shape = map(int, shape)
    if len(nsd_id) != n_rows:
        raise ValueError(f"{Path(path).name} needs one nsd_id per row; got {len(nsd_id)} ids for {n_rows} rows.")
    stored_shape, default_chunk = (n_rows, *row_shape), (1, *row_shape)
    if flatten:
        stored_shape = (n_rows, math.prod(row_shape))
        default_chunk = feature_chunks(*stored_shape, np.dtype(dtype).itemsize)
    chunks = (chunk or default_chunk) if n_rows else None
    with _new(path, rdcc_nbytes=CACHE_BYTES * by_columns) as (file, new_file):
        in_order = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        in_order.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # chunks lie in order, whichever was written first
        checked = {"chunks": chunks, "fletcher32": chunks is not None}
        values = file.create_dataset("values", stored_shape, dtype, dcpl=in_order, fill_time="never", **checked)
        store(file, "nsd_id", np.asarray(nsd_id, np.int32))
        versions = {each.__name__: each.__version__ for each in (np, h5py)}  # of all libraries: the job's receipt
        record = {"shape": row_shape, "axes": list(axes), "made_by": dict(attrs or {}), "versions": versions}
        for name, content in record.items():
            describe(values, name, json.dumps(content, default=str))
        describe(values, "unit", unit)
        yield FiniteDataset(values, path, nsd_id, new_file)


def about(values: h5py.Dataset) -> dict[str, Any]:
    """What is stored beside the numbers of an array: shape of a row, axes, unit, made_by (see `create`), versions."""
    attrs = {name: bytes(value) if isinstance(value, np.bytes_) else value for name, value in values.attrs.items()}
    try:
        texts = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in attrs.items()}
        return {name: text if name == "unit" else json.loads(text) for name, text in texts.items()}
    except (ValueError, RecursionError) as error:
        path = values.file.filename
        raise ValueError(f"{path} has attributes that are no JSON ({error}). {rerun(path)}") from error


def describe(values: h5py.Dataset | h5py.Group, name: str, text: str) -> None:
    """Write an attribute as a text of fixed length, for which HDF5 has checksums; of variable length it has none."""
    content = text.encode()
    values.attrs.create(name, np.array(content, h5py.string_dtype("utf-8", max(1, len(content)))))


@contextmanager
def writing(path: str | Path, **options: Any) -> Iterator[h5py.File]:
    """Open a new HDF5 file, whose structure has checksums; it takes its name when the block ends without an error.

    `options` are those of `h5py.File`.

    Raises SystemFault: the disk is full, or the system has something else against the file.
    """
    with _new(path, **options) as (file, _):
        yield file


def _plain_chunks(file: h5py.File, path: str | Path) -> dict[str, int]:
    """How many chunks of each dataset are nothing but zeros, or ones, with a checksum of such.

    Fletcher's checksum of zeros is zero, and of ones it is ones: what a disk has lost would pass as what was written.
    Of each chunk only the checksum is read.
    """
    found: dict[str, int] = {}

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks and item.fletcher32:
            found[name] = 0

            def note(chunk: Any) -> None:
                checksum = os.pread(stream.fileno(), CHECKSUM, chunk.byte_offset + chunk.size - CHECKSUM)
                found[name] += checksum in (bytes(CHECKSUM), b"\xff" * CHECKSUM)

            item.id.chunk_iter(note)

    with open(path, "rb") as stream:
        file.visititems(look)
    return found


def _has_lost_chunks(file: h5py.File, path: str | Path) -> bool:
    """Whether more chunks are zeros than were written so; files from before that was noted do not tell."""
    text = file.attrs.get(PLAIN)
    written = {} if text is None else json.loads(text)
    return bool(written) and any(n > written.get(name, n) for name, n in _plain_chunks(file, path).items())


@contextmanager
def writing_at(partial: str | Path, **options: Any) -> Iterator[h5py.File]:
    """Open a new HDF5 file under a name that `atomic` gave, in no other format than `options` of `h5py.File` say."""
    with _opened(NewFile(partial), "w", **options) as file:
        yield file


@contextmanager
def adding(path: str | Path) -> Iterator[h5py.File]:
    """Open a copy of a finished file to add to it; it takes the file's place when the block ends without an error.

    Raises SystemFault: as `writing`.
    """
    with atomic(path) as partial:
        shutil.copyfile(path, partial)
        with _opened(NewFile(partial, keep=True), "r+") as file:
            yield file


@contextmanager
def _new(path: str | Path, **options: Any) -> Iterator[tuple[h5py.File, NewFile]]:
    """A new HDF5 file, and what its bytes go through."""
    with atomic(path) as partial:
        new_file = NewFile(partial)
        with _opened(new_file, "w", libver="latest", **options) as file:
            yield file, new_file
            file.flush()
            if new_file.failure is None:
                describe(file, PLAIN, json.dumps(_plain_chunks(file, partial)))


@contextmanager
def _opened(new_file: NewFile, mode: Any, **options: Any) -> Iterator[h5py.File]:
    """An HDF5 file to write; that a write failed is said instead of all that follows from it."""
    try:
        with new_file, h5py.File(new_file, mode, **options) as file:
            yield file
    finally:
        new_file.check()


def store(group: h5py.Group, name: str, values: Any) -> None:
    """Write an array as a dataset whose chunks have Fletcher checksums, which every read verifies."""
    values = np.asarray(values)
    if not values.size or not values.ndim:
        group[name] = values
        return
    rows = max(1, min(len(values), CHUNK_BYTES // max(1, values[:1].nbytes)))
    group.create_dataset(name, data=values, chunks=(rows, *values.shape[1:]), fletcher32=True)


@contextmanager
def reading(
    path: str | Path, *, by_columns: bool = False
) -> Iterator[tuple[h5py.Dataset, Int32[np.ndarray, " stimuli"]]]:
    """Open a file and yield its dataset, for streamed access by rows or by whole columns, and the nsd_id of its rows.

    Raises FileNotFoundError: no such file. ValueError: not HDF5, truncated, or without `values` or `nsd_id`.
    """
    with opening(path, by_columns=by_columns) as file:
        values, nsd_id = dataset(file, "values"), dataset(file, "nsd_id")
        if values is None or nsd_id is None:
            lacking = "values" if values is None else "nsd_id"
            raise ValueError(f"{path} lacks {lacking}; expected values and the nsd_id of each row. {rerun(path)}")
        if not values.ndim or nsd_id.ndim != 1 or nsd_id.dtype.kind not in "iu" or values.dtype.kind not in "iufb":
            raise ValueError(
                f"{path} has values {values.dtype} {values.shape} and nsd_id {nsd_id.dtype} {nsd_id.shape}; expected "
                f"numbers, and one whole number for each row. {rerun(path)}"
            )
        if len(values) != len(nsd_id):
            raise ValueError(f"{path} has {len(values)} rows and {len(nsd_id)} nsd_id; expected as many. {rerun(path)}")
        yield values, nsd_id[...]


@contextmanager
def opening(path: str | Path, fix: messages.Sentence = "", *, by_columns: bool = False) -> Iterator[h5py.File]:
    """Open an HDF5 file to read. An error is one sentence: what is wrong with the file, and `fix` or how to remake it.

    Raises FileNotFoundError: no such file. SystemFault: the file may be sound, and the system, or another program,
    keeps it from being read. ValueError: not HDF5, cut short or damaged.
    """
    if not system_faults.is_file(path):
        raise FileNotFoundError(f"{path} is missing; expected an HDF5 file. {fix or rerun(path)}")
    try:
        file = h5py.File(path, rdcc_nbytes=CACHE_BYTES * by_columns)
    except OSError as error:
        system_faults.raise_if_any(error, path)
        reason = str(error).strip().rpartition("(")[2].rstrip(")")
        raise ValueError(
            f"{path} cannot be read as HDF5 ({reason}); it may be cut short. {fix or rerun(path)}"
        ) from error
    with file:
        try:
            if _has_lost_chunks(file, path):
                raise ValueError(f"{path} is damaged: parts of it were lost. {fix or rerun(path)}")
            yield file
        except (OSError, KeyError, RuntimeError) as error:
            said = system_faults.sentence(error, path)
            if said:
                raise system_faults.SystemFault(system_faults.number(error) or 0, said, str(path)) from error
            if not _is_damaged(file):
                raise
            raise ValueError(
                f"{path} is damaged: its content is not what was written ({error}). {fix or rerun(path)}"
            ) from error


def _is_damaged(file: h5py.File) -> bool:
    """Whether anything in a file fails its checksum; all of the file is read."""

    def read(_: str, item: Any) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset):
            if item.chunks:
                for chunk in item.iter_chunks():
                    item[chunk]
            else:
                item[...]

    try:
        file.visititems(read)
    except (OSError, KeyError, RuntimeError) as error:
        system_faults.raise_if_any(error, file.filename)
        return True
    return False


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The dataset of that name in a file; None if there is none."""
    item = file.get(name)
    return item if isinstance(item, h5py.Dataset) else None


ALL = slice(None)


def load(path: str | Path, rows: slice = ALL) -> StimulusArray:
    """The array, or some rows of it, with the axes it was saved with.

    Raises ValueError: a number is not finite, or what `reading` raises.
    """
    with reading(path) as (values, nsd_id):
        row_shape = about(values).get("shape", values.shape[1:])
        is_shape = isinstance(row_shape, Sequence) and all(type(length) is int for length in row_shape)
        if not is_shape or math.prod(row_shape) != math.prod(values.shape[1:]):
            raise ValueError(
                f"{path} has rows of {values.shape[1:]}, which its attribute shape calls {row_shape}; expected as many "
                f"numbers. {rerun(path)}"
            )
        chosen = values[rows]
        check_finite(path, chosen, nsd_id[rows])
        return StimulusArray(chosen.reshape(len(chosen), *row_shape), nsd_id[rows])


def check_finite(
    path: str | Path, values: Shaped[np.ndarray, "stimuli ..."], nsd_id: Int[np.ndarray, " stimuli"]
) -> None:
    """Refuse what was read from a file if a number is not finite; half a second a gigabyte.

    Raises ValueError, which names the file and the stimuli.
    """
    rows = finite.rows_not_finite(values)
    if rows:
        value = finite.first_not_finite(values[rows[0]])
        raise finite.NotFinite("the file", rows, value, rerun(path)).of(str(path), nsd_id)


def load_aligned(path_a: str | Path, path_b: str | Path, rows: slice = ALL) -> tuple[StimulusArray, StimulusArray]:
    """Two arrays, or some rows of them, of the same stimuli in the same order.

    Raises ValueError: they are not the same, see `check_aligned`.
    """
    a, b = load(path_a, rows), load(path_b, rows)
    check_aligned(path_a, a.nsd_id, path_b, b.nsd_id)
    return a, b


def check_aligned(
    path_a: messages.Sentence | Path,
    ids_a: Int[np.ndarray, " rows_a"],
    path_b: messages.Sentence | Path,
    ids_b: Int[np.ndarray, " rows_b"],
) -> None:
    """Check that two files have the same stimuli in the same order.

    Raises ValueError, which names an nsd_id: they do not.
    """
    if np.array_equal(ids_a, ids_b):
        return
    name_a, name_b = Path(path_a).name, Path(path_b).name
    counts = f"{name_a} has {len(ids_a)} stimuli, {name_b} has {len(ids_b)}"
    for ids, other_ids, which in ((ids_a, ids_b, "second"), (ids_b, ids_a, "first")):
        missing = ids[~np.isin(ids, other_ids)]
        if len(missing):
            raise ValueError(f"{counts}; nsd_id {missing[0]} is missing from the {which}. {rerun(path_b)}")
    if len(ids_a) != len(ids_b):
        ids, repeats = np.unique(max(ids_a, ids_b, key=len), return_counts=True)
        raise ValueError(f"{counts}; nsd_id {ids[repeats > 1][0]} is repeated. {rerun(path_b)}")
    row = np.flatnonzero(ids_a != ids_b)[0]
    raise ValueError(
        f"{counts}, in another order; row {row} is nsd_id {ids_a[row]} in the first, {ids_b[row]} in the second. "
        f"{rerun(path_b)}"
    )


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or a folder to, which takes the name `path` at the end of the block.

    On an error, what was written is removed, and an earlier `path` stays as it was. A folder replaces a folder.

    Raises SystemFault: the disk is full, or the system has something else against the file.
    """
    path = Path(path)
    partial, earlier = (path.with_name(f"{path.name}.{word}-{os.getpid()}") for word in ("part", "earlier"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        for written in (partial, *partial.rglob("*")) if partial.is_dir() else (partial,):
            _sync(written)
        if path.is_dir():
            path.rename(earlier)
        os.replace(partial, path)
        _sync(path.parent)
        _remove(earlier)
    except BaseException as error:
        said = system_faults.sentence(error, path)  # while the disk is still full
        with suppress(OSError):  # what cannot be removed now is removed by the next job (workflow/job.py)
            _remove(partial)
        if earlier.exists() and not path.exists():
            earlier.rename(path)
        if said is None or isinstance(error, FileNotFoundError | system_faults.SystemFault):
            raise
        raise system_faults.SystemFault(system_faults.number(error) or 0, said, str(path)) from error


def feature_chunks(n_rows: int, n_columns: int, itemsize: int) -> tuple[int, int]:
    """The shape of chunks of about 1 MiB that suit both writing by batches of rows and reading by blocks of columns.

    A chunk has all rows and up to 1024 columns if that fits, else one of several equal bands of rows and 512 columns.
    """
    items = max(1, CHUNK_BYTES // itemsize)
    columns = max(1, min(n_columns, 1024, max(512, items // max(1, n_rows) // 64 * 64)))
    bands = math.ceil(n_rows * columns / items)
    return math.ceil(n_rows / max(1, bands)), columns


def rerun(path: str | Path) -> messages.Sentence:
    """The sentence that says how to make an artifact, or the folder that is the artifact of a file, again."""
    path = Path(path)
    if len(path.parts) == 1 and not path.suffix:  # a word for an artifact
        return f"Rerun the job that writes {path}."
    made = next((folder for folder in path.parents if (folder / OF_FOLDERS).is_file()), path)
    return f"Rerun its job: snakemake --force {shlex.quote(str(made))} --cores all"


def _sync(path: Path) -> None:
    """Have the disk store a file's bytes, or a folder's names where the file system can (CIFS and some VMs cannot)."""
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not (is_folder and error.errno in NO_SYNC_OF_FOLDERS):
            raise


def _remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
