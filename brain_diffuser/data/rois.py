"""Stage 1: the voxels of each region: labels of atlases, unions and intersections of them, masks of one's own."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data.adapter import fill_subject

LABELS = Path(__file__).with_name("atlas_labels.tsv")


ALL = "all"
"""The region of every voxel."""


REST = "rest"
"""The pattern of no response at all, whose features are the training stimuli's mean."""


RANDOM = "random_"
"""What the names of controls begin with: as many voxels as a region has, drawn outside of it."""


def atlas_labels(path: Path = LABELS) -> dict[str, tuple[str, int]]:
    """Name of an area -> its atlas and its label there. Source: Allen et al. 2022, Nature Neuroscience 25, 116-126."""
    with open(path, newline="") as stream:
        return {row["name"]: (row["atlas"], int(row["label"])) for row in csv.DictReader(stream, delimiter="\t")}


def problems(definitions: Mapping[str, Any], atlases: Sequence[str], where: str) -> Iterator[str]:
    """A sentence for each definition that names what is not there, itself, or takes another's name."""
    labels = atlas_labels()
    folded: dict[str, str] = {ALL: ALL}
    for name in dict.fromkeys((*labels, *definitions)):
        known = folded.setdefault(name.lower(), name)
        if name in definitions and (known != name or name in labels or name == ALL):
            yield f"{where} has {name}, and {known} is there already; names differ in more than capitals, so rename it"
    for name, definition in definitions.items():
        for part in _parts(definition):
            if part in definitions:
                continue
            if part not in labels:
                similar = get_close_matches(part, [*definitions, *labels], n=1)
                hint = f"did you mean {similar[0]}?" if similar else "atlas_labels.tsv lists the labels"
                yield f"{where}.{name} names {part}, which is neither a region nor a label of an atlas; {hint}"
            elif labels[part][0] not in atlases:
                yield f"{where}.{name} names {part} of the atlas {labels[part][0]}; add it to nsd.rois, or drop {part}"
        if isinstance(definition, Mapping) and "atlas" in definition and definition["atlas"] not in atlases:
            yield f"{where}.{name} names the atlas {definition['atlas']}; add it to nsd.rois"
        if name in _reached(definitions, name):
            yield f"{where}.{name} is made of itself; expected labels or other regions"


def _parts(definition: Any) -> Sequence[str]:
    """The names that a definition unites or intersects."""
    if isinstance(definition, Mapping):
        return definition.get("intersection", ())
    return definition


def _reached(definitions: Mapping[str, Any], name: str) -> set[str]:
    """All names that a definition is made of, over others."""
    seen: set[str] = set()
    waiting = list(_parts(definitions[name]))
    while waiting:
        each = waiting.pop()
        if each in definitions and each not in seen:
            seen.add(each)
            waiting += _parts(definitions[each])
    return seen


def mask_file(definition: Any, subject: str) -> Path | None:
    """The file that a definition reads, if it does; see `adapter.fill_subject`."""
    found = definition.get("mask") if isinstance(definition, Mapping) else None
    return Path(fill_subject(found, subject)) if found else None


def masks(definitions: Mapping[str, Any], rois: str | Path, subject: str) -> dict[str, Bool[np.ndarray, " voxels"]]:
    """Which of a subject's voxels each region has, by name, "all" first.

    A definition is a list of labels and regions (their union), or has one of the keys `intersection` (such a list),
    `atlas` and `labels` (whole numbers), `mask` (a volume that is above 0 there) or `voxels` ([x, y, z], from 0).

    Raises ValueError: a region without a voxel, a mask on another grid, a voxel that is not among the subject's.
    """
    with hdf5.opening(rois) as file:
        shape, affine, voxel = (np.asarray(file[name]) for name in ("shape", "affine", "voxel"))
        labelled = {atlas: np.asarray(file[f"{atlas}/labels"]) for atlas in file if isinstance(file[atlas], h5py.Group)}
    known = atlas_labels()
    found: dict[str, np.ndarray] = {}

    def of(name: str) -> np.ndarray:
        if name not in definitions:
            atlas, label = known[name]
            return labelled[atlas] == label
        if name not in found:
            found[name] = resolved(name, definitions[name])
            if not found[name].any():
                raise ValueError(
                    f"region {name} has 0 of {len(voxel)} voxels of {subject}; expected at least 1. Correct "
                    "roi.regions, or leave it out."
                )
        return found[name]

    def resolved(name: str, definition: Any) -> np.ndarray:
        if not isinstance(definition, Mapping):
            return np.any([of(part) for part in definition], axis=0)
        if "intersection" in definition:
            return np.all([of(part) for part in definition["intersection"]], axis=0)
        if "atlas" in definition:
            return np.isin(labelled[definition["atlas"]], definition["labels"])
        if "mask" in definition:
            path = mask_file(definition, subject)
            assert path
            from brain_diffuser.data import (
                nifti,  # configuration, read by every job, needs none of the programs that read volumes
            )

            return nifti.read_region(path, shape, affine, rois).ravel()[voxel]
        return _of_coordinates(name, definition["voxels"], shape, voxel)

    return {ALL: np.ones(len(voxel), bool)} | {name: of(name) for name in definitions}


def _of_coordinates(
    name: str, coordinates: Sequence[Sequence[int]], shape: np.ndarray, voxel: np.ndarray
) -> np.ndarray:
    """Voxels by their place in the volume."""
    chosen = np.zeros(len(voxel), bool)
    for place in coordinates:
        inside = all(0 <= at < size for at, size in zip(place, shape, strict=True))
        here = voxel == np.ravel_multi_index(tuple(place), tuple(shape)) if inside else np.zeros(len(voxel), bool)
        if not here.any():
            raise ValueError(
                f"region {name} has voxel {list(place)}, which is not among the {len(voxel)} of the mask, in a volume "
                f"of {tuple(shape.tolist())}; voxels are counted from 0. Choose another."
            )
        chosen |= here
    return chosen


def save(path: str | Path, masks: Mapping[str, Bool[np.ndarray, " voxels"]]) -> None:
    """Write regions to HDF5, one dataset each, in order."""
    with hdf5.writing(path, track_order=True) as file:
        for name, mask in masks.items():
            hdf5.store(file, name, mask)


def load(path: str | Path) -> dict[str, Bool[np.ndarray, " voxels"]]:
    """The regions that `save` wrote, in its order."""
    with hdf5.opening(path) as file:
        return {str(name): np.asarray(file[name]) for name in file}
