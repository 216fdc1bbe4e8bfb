"""How many images networks compute at a time, such that no image depends on which others are in its batch.

In 16 bits the kernels of a network, and with them the order of its sums, depend on the number of images of a batch: at
the published size an image made alone and the same image in a batch of two differ by several grey levels. So a CPU,
where a batch gains nothing in 16 bits, computes images one by one, and a GPU computes batches of one number of images,
the last one filled up. In float32 batches change an image by no more than rounding, and are as large as they come.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from brain_diffuser.models import layout


class Batch(NamedTuple):
    """Some rows that are computed together."""

    rows: slice
    padding: int
    """How many copies of the last row fill up the batch; their results are not used."""

    @property
    def n_rows(self) -> int:
        return self.rows.stop - self.rows.start

    def padded(self, values: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "batch ..."]:
        """The values of the batch's rows, then the copies of the last."""
        if not self.padding:
            return values
        return torch.cat([values, values[-1:].expand(self.padding, *values.shape[1:])])

    def padded_array(self, values: Shaped[np.ndarray, "rows ..."]) -> Shaped[np.ndarray, "batch ..."]:
        """The same of an array."""
        return np.concatenate([values, np.repeat(values[-1:], self.padding, 0)]) if self.padding else values


def split(
    rows: range, batch_size: int, device: str | torch.device, dtype: torch.dtype, one_by_one: bool = False
) -> Iterator[Batch]:
    """The batches in which a network computes rows.

    Parameters
    ----------
    rows : range
        Of step 1.
    batch_size : int
        Rows at a time, except in 16 bits on a CPU.
    device : torch.device or str
        Where the network runs.
    dtype : torch.dtype
        In which it computes.
    one_by_one : bool
        In 16 bits, whether a GPU too takes one row at a time: rows of captions have any number of them.
    """
    is_narrow = layout.is_narrow(dtype)
    if is_narrow and (one_by_one or torch.device(device).type == "cpu"):
        batch_size = 1
    for first in range(rows.start, rows.stop, batch_size):
        last = min(first + batch_size, rows.stop)
        yield Batch(slice(first, last), batch_size - (last - first) if is_narrow else 0)


def of_missing(
    missing: Sequence[int], n_rows: int, batch_size: int, device: str | torch.device, dtype: torch.dtype
) -> list[tuple[int, bool]]:
    """Rows to compute so that the missing ones of a shard come out to the bit as if all of its rows were computed.

    In 16 bits these are the missing rows. In float32, where the size of a batch moves results by rounding, they are
    whole batches of the shard, in which a missing row stands for those that are not missing, so that no other is read.

    Parameters
    ----------
    missing : row numbers
        In order.
    n_rows : int
        Of the shard.
    batch_size, device, dtype
        As of `split`.

    Returns
    -------
    list of (row, is_missing)
        To be computed with the same batch size; a row that only stands for another is False.
    """
    wanted = set(missing)
    if layout.is_narrow(dtype):
        return [(row, True) for row in missing]
    found: list[tuple[int, bool]] = []
    for batch in split(range(n_rows), batch_size, device, dtype):
        inside = range(batch.rows.start, batch.rows.stop)
        first = next((row for row in inside if row in wanted), None)
        if first is not None:
            found += [(row, True) if row in wanted else (first, False) for row in inside]
    return found


def place(row: int, n_rows: int, batch_size: int, device: str | torch.device, dtype: torch.dtype) -> tuple[int, int]:
    """The place of a shard's row in its batch and the size of that batch, on which its image depends by rounding.

    In 16 bits it does not depend on its place, and on a CPU not on a size either, for images are computed one by one.
    """
    if layout.is_narrow(dtype):
        return 0, 1 if torch.device(device).type == "cpu" else batch_size
    first = row - row % batch_size
    return row - first, min(batch_size, n_rows - first)
