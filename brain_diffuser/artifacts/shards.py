"""Shards: spans of the stimuli of a split, each of which one job works on; the results are gathered in order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32, UInt8

from brain_diffuser.artifacts import hdf5, messages

SPAN = r"\d{5}-\d{5}"
COLUMNS = 1024  # of features that are gathered at a time


def spans(n_stimuli: int, size: int) -> list[str]:
    """The names of the shards of `n_stimuli`, such as 00000-00064 and 00064-00128; the last may end beyond them."""
    return [f"{start:05d}-{start + size:05d}" for start in range(0, n_stimuli, size)]


def make(span: str, like: str | Path, out_path: str | Path, write: Callable[[slice], None]) -> None:
    """Have `write` make one shard, or write an empty shard.

    Parameters
    ----------
    span
        The name of the shard, which says its rows.
    like
        An array of the stimuli; the shard is empty if the array ends before these rows.
    out_path
        The shard.
    write
        Makes the shard of the rows that it is given.
    """
    rows = slice(*map(int, span.split("-")))
    if len(_ids(like)[rows]):
        write(rows)
    else:
        hdf5.save(out_path, np.empty((0, 1), np.uint8), np.empty(0, np.int32))


class Part(NamedTuple):
    """Stimuli of a split that one job works on.

    Parameters
    ----------
    nsd_id : (stimuli,)
        Their ids, in the order of the split.
    by_shard
        Of every shard that they belong to its rows in the split, and which of these rows they are, from 0.
    """

    nsd_id: Int32[np.ndarray, " stimuli"]
    by_shard: list[tuple[slice, Sequence[int]]]


def part(span: str, like: str | Path, chosen: Int32[np.ndarray, " chosen"] | None = None, size: int = 0) -> Part:
    """The stimuli of a shard, or chosen ones by the shards of `size` stimuli that they belong to.

    Parameters
    ----------
    span
        The name of the shard; not read with `chosen`.
    like
        An array of all stimuli of the split; a shard is empty if the array ends before its rows.
    chosen
        The ids of the chosen stimuli, if some are chosen.
    size
        Of the shards that these are in.

    Raises ValueError: one of the chosen stimuli is none of the split's.
    """
    ids = _ids(like)
    if chosen is None:
        rows = slice(*map(int, span.split("-")))
        return Part(ids[rows], [(rows, range(len(ids[rows])))] if len(ids[rows]) else [])
    lacking = chosen[~np.isin(chosen, ids)]
    if len(lacking):
        raise ValueError(f"{like} lacks nsd_id {lacking[0]}, which is chosen. {hdf5.rerun(like)}")
    rows = np.flatnonzero(np.isin(ids, chosen))
    shards = [slice(start, min(start + size, len(ids))) for start in range(0, len(ids), size)]
    inside = [(each, (rows[(rows >= each.start) & (rows < each.stop)] - each.start).tolist()) for each in shards]
    return Part(ids[rows], [(each, places) for each, places in inside if places])


def save_images(
    path: str | Path,
    made_images: Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]],
    nsd_id: Int32[np.ndarray, " stimuli"],
) -> None:
    """Write a shard of (nsd_id, image) pairs in the order of `nsd_id`; without ids an empty shard.

    Raises ValueError: there are other images than ids.
    """
    if not len(nsd_id):
        hdf5.save(path, np.empty((0, 1), np.uint8), np.empty(0, np.int32))
        return
    first = next(made_images, None)
    if first is None:
        raise ValueError(f"{path}: got 0 images; expected {len(nsd_id)}, one for each nsd_id")
    with hdf5.create(path, (len(nsd_id), *first[1].shape), np.uint8, nsd_id, flatten=False) as images:
        n_images = 0
        for n_images, (number, image) in enumerate(chain([first], made_images), 1):
            if n_images > len(nsd_id) or number != nsd_id[n_images - 1]:
                raise ValueError(f"{path}: image {n_images} is of nsd_id {number}; expected those of {nsd_id.tolist()}")
            images[n_images - 1] = image
        if n_images < len(nsd_id):
            raise ValueError(f"{path}: got {n_images} images; expected {len(nsd_id)}, one for each nsd_id")


Parts = Mapping[str, Float[np.ndarray, "stimuli _"]]
"""Features of the same stimuli, by name."""


def save_parts(path: str | Path, sets: Sequence[Parts], nsd_id: Int32[np.ndarray, " stimuli"]) -> None:
    """Write a shard of several sets of features, joined by columns; all sets have the same names and widths."""
    widths = {name: part.shape[1] for name, part in sets[0].items()}
    columns = np.concatenate([part for parts in sets for part in parts.values()], axis=1)
    hdf5.save(path, columns, nsd_id, attrs=widths)


def load_parts(
    paths: Sequence[str | Path], like: Sequence[str | Path]
) -> tuple[Int32[np.ndarray, " stimuli"], list[Parts]]:
    """The ids of all shards in order, and the sets of features that `save_parts` wrote.

    Raises ValueError: their stimuli are not those of the arrays `like`, one array after the other.
    """
    nsd_id = _check(paths, like)
    rows, widths = [], {}
    for path in paths:
        with hdf5.reading(path) as (values, ids):
            if len(ids):
                rows.append(values[...])
                hdf5.check_finite(path, rows[-1], ids)
                widths = hdf5.about(values).get("made_by", {})
    if not rows or not widths or rows[0].shape[1] % sum(widths.values()) or len({part.shape[1] for part in rows}) > 1:
        found = sorted({part.shape[1] for part in rows})
        raise ValueError(
            f"{paths[0]} and {len(paths) - 1} other shards have {found} columns of {dict(widths)}; expected whole "
            f"sets, as many in each. {hdf5.rerun(paths[0])}"
        )
    columns, ends = np.concatenate(rows), np.cumsum([*widths.values()])
    sets = np.split(columns, columns.shape[1] // ends[-1], axis=1)
    return nsd_id, [dict(zip(widths, np.split(part, ends[:-1], axis=1), strict=True)) for part in sets]


def images(
    paths: Sequence[str | Path], like: Sequence[str | Path]
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]]:
    """(nsd_id, image) of all shards in order.

    Raises ValueError: their stimuli are not those of the arrays `like`, one array after the other.
    """
    _check(paths, like)
    for path in paths:
        with hdf5.reading(path) as (images, nsd_id):
            yield from zip(nsd_id.tolist(), images, strict=True)


def gather(paths: Sequence[str | Path], like: Sequence[str | Path], out_path: str | Path) -> None:
    """Write the features of all shards as one array, byte for byte the same for any number of shards.

    Memory: 1024 columns of all stimuli.

    Raises ValueError: their stimuli are not those of the arrays `like`, one array after the other.
    """
    nsd_id = _check(paths, like)
    with ExitStack() as stack:
        opened = [stack.enter_context(hdf5.reading(path, by_columns=True)) for path in paths]
        parts = [values for values, ids in opened if len(ids)]
        of_kinds = {
            (part.shape[1:], part.dtype): path for (part, ids), path in zip(opened, paths, strict=True) if len(ids)
        }
        if len(of_kinds) != 1:
            kinds: messages.Sentence = ", ".join(
                f"{path} has rows of {shape}, {dtype}" for (shape, dtype), path in of_kinds.items()
            )
            raise ValueError(
                f"{kinds or f'the {len(paths)} shards of {out_path} are empty'}; expected one kind of rows. "
                f"{hdf5.rerun(list(of_kinds.values())[-1] if of_kinds else paths[0])}"
            )
        first, n_columns = parts[0], parts[0].shape[1]
        with hdf5.create(out_path, (len(nsd_id), n_columns), first.dtype, nsd_id, by_columns=True) as stored:
            stored.attrs.update(first.attrs)
            chunk = (stored.chunks or stored.shape)[1]
            width = max(1, COLUMNS // chunk) * chunk
            for start in range(0, n_columns, width):
                columns = slice(start, start + width)
                stored[:, columns] = np.concatenate([part[:, columns] for part in parts])


def _check(paths: Sequence[str | Path], like: Sequence[str | Path]) -> Int32[np.ndarray, " stimuli"]:
    """The ids of all shards, which have to be those of the arrays `like`."""
    ids, expected = (np.concatenate([_ids(path) for path in files]) for files in (paths, like))
    hdf5.check_aligned(like[-1], expected, paths[-1], ids)
    return ids


def _ids(path: str | Path) -> Int32[np.ndarray, " stimuli"]:
    with hdf5.reading(path) as (_, nsd_id):
        return nsd_id
