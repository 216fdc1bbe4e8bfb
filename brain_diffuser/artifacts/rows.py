"""Rows of stored arrays, chosen by the ids of their stimuli."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from brain_diffuser.artifacts import hdf5

COLUMNS = 1024  # of features that are copied at a time


def select(paths: Sequence[str | Path], nsd_id: Int32[np.ndarray, " stimuli"], out_path: str | Path) -> None:
    """Write the rows of some stimuli of several arrays of one kind as one array, in the order of `nsd_id`.

    Memory: 1024 columns of all rows, or one image.

    Raises ValueError: a stimulus is in none of the arrays, or they differ in kind.
    """
    with ExitStack() as stack:
        arrays, ids = zip(*(stack.enter_context(hdf5.reading(path, by_columns=True)) for path in paths), strict=True)
        for path, array in zip(paths, arrays, strict=True):
            if (array.shape[1:], array.dtype) != (arrays[0].shape[1:], arrays[0].dtype):
                raise ValueError(
                    f"{path} has rows of {array.shape[1:]}, {array.dtype}, and {paths[0]} of {arrays[0].shape[1:]}, "
                    f"{arrays[0].dtype}; expected one kind. {hdf5.rerun(path)}"
                )
        places = {number: (part, row) for part, of in enumerate(ids) for row, number in enumerate(of.tolist())}
        lacking = [number for number in nsd_id.tolist() if number not in places]
        if lacking:
            raise ValueError(
                f"{' and '.join(map(str, paths))} lack nsd_id {lacking[0]} ({len(lacking)} of {len(nsd_id)}). "
                f"{hdf5.rerun(paths[-1])}"
            )
        found = [places[number] for number in nsd_id.tolist()]
        shape, is_features = (len(nsd_id), *arrays[0].shape[1:]), arrays[0].ndim == 2
        options = {"flatten": is_features, "by_columns": is_features}
        with hdf5.create(out_path, shape, arrays[0].dtype, nsd_id, **options) as stored:
            stored.attrs.update(arrays[0].attrs)
            if not is_features:
                for row, (part, place) in enumerate(found):
                    stored[row] = arrays[part][place]
                return
            chunk = (stored.chunks or stored.shape)[1]
            width = max(1, COLUMNS // chunk) * chunk
            starts = np.cumsum([0, *(len(of) for of in ids)])
            order = [starts[part] + row for part, row in found]
            for start in range(0, shape[1], width):
                columns = slice(start, start + width)
                stored[:, columns] = np.concatenate([array[:, columns] for array in arrays])[order]
