"""Regions of the brain: labels of atlases, unions and intersections of them, masks and voxels."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.data.adapter import fill_subject

LABELS = Path(__file__).with_name("atlas_labels.tsv")


ALL = "all"
"""The name of the region of all voxels."""


REST = "rest"
"""The name of the pattern of no response, whose features are the mean of the training stimuli."""


RANDOM = "random_"
"""Prefix of the names of controls: as many voxels as a region has, drawn outside of the region."""


def atlas_labels(path: Path = LABELS) -> dict[str, tuple[str, int]]:
    """The atlas and the label of every area, by its name.

    Source: Allen et al. 2022, Nature Neuroscience 25, 116-126.
    """
    rows = tables.read_rows(path, ("name", "atlas", "label"))
    labels = tables.numbers(path, rows, "label", np.int64).tolist()
    return {row["name"]: (row["atlas"], label) for row, label in zip(rows, labels, strict=True)}


def problems(definitions: Mapping[str, Any], atlases: Sequence[str], where: str) -> Iterator[str]:
    """A sentence for each definition that names an unknown part, contains itself, or takes the name of another."""
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
    """All regions that a definition is made of, directly or through others."""
    reached: set[str] = set()
    waiting = list(_parts(definitions[name]))
    while waiting:
        part = waiting.pop()
        if part in definitions and part not in reached:
            reached.add(part)
            waiting += _parts(definitions[part])
    return reached


def mask_file(definition: Any, subject: str) -> Path | None:
    """The file that a definition reads, or None; its path is a template of `adapter.fill_subject`."""
    template = definition.get("mask") if isinstance(definition, Mapping) else None
    return Path(fill_subject(template, subject)) if template else None


def masks(definitions: Mapping[str, Any], rois: str | Path, subject: str) -> dict[str, Bool[np.ndarray, " voxels"]]:
    """The voxels of each region of a subject, by its name, "all" first.

    A definition is a list of labels and regions (their union), or has one of the keys `intersection` (such a list),
    `atlas` and `labels` (whole numbers), `mask` (a volume that is above 0 there; with `check_affine` false, its header
    may put it elsewhere) or `voxels` ([x, y, z], from 0).

    Raises ValueError: a region has no voxel, a mask lies on another grid, or a voxel is not among the subject's.
    """
    with hdf5.opening(rois) as file:
        shape, affine, voxel = (np.asarray(file[name]) for name in ("shape", "affine", "voxel"))
        labels = {atlas: np.asarray(file[f"{atlas}/labels"]) for atlas in file if isinstance(file[atlas], h5py.Group)}
    known = atlas_labels()
    masks: dict[str, np.ndarray] = {}

    def mask_of_name(name: str) -> np.ndarray:
        if name not in definitions:
            atlas, label = known[name]
            return labels[atlas] == label
        if name not in masks:
            masks[name] = mask_of_definition(name, definitions[name])
            if not masks[name].any():
                raise ValueError(
                    f"region {name} has 0 of {len(voxel)} voxels of {subject}; expected at least 1. Correct "
                    "roi.regions, or leave it out."
                )
        return masks[name]

    def mask_of_definition(name: str, definition: Any) -> np.ndarray:
        if not isinstance(definition, Mapping):
            return np.any([mask_of_name(part) for part in definition], axis=0)
        if "intersection" in definition:
            return np.all([mask_of_name(part) for part in definition["intersection"]], axis=0)
        if "atlas" in definition:
            return np.isin(labels[definition["atlas"]], definition["labels"])
        path = mask_file(definition, subject)
        if path:
            from brain_diffuser.data import nifti  # every job reads the configuration, which needs no such library

            of_betas = affine if definition.get("check_affine", True) else None
            return nifti.read_region(path, shape, of_betas, rois).ravel()[voxel]
        return _mask_of_coordinates(name, definition["voxels"], shape, voxel)

    return {ALL: np.ones(len(voxel), bool)} | {name: mask_of_name(name) for name in definitions}


def _mask_of_coordinates(
    name: str, coordinates: Sequence[Sequence[int]], shape: np.ndarray, voxel: np.ndarray
) -> np.ndarray:
    """The voxels at some coordinates (x, y, z), from 0."""
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
