"""The settings of LAION-fMRI in a configuration, `datasets.*.settings`, which config.laion_fmri.yaml explains.

They are checked here without pydantic, which the environments of jobs do not have.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

RESERVED = ("voxel", "ncsnr", "shape", "affine", "all")
"""What regions cannot be called, for the file of voxels has other things under these names."""


class SplitSettings(NamedTuple):
    """Which published split: {folder}/{shared or sub-01}/{name}.json, and a variant of it, or "only"."""

    folder: str
    name: str
    pool: str
    variant: str


class Settings(NamedTuple):
    """All settings, every one of which has to be written.

    `mask` is a list of labels, or {"r2mean_above": number} or {"file": path}.
    """

    root: str
    mask: Any
    regions: dict[str, list[str]]
    nan_voxels: str
    zscore: str
    check_affine: bool
    noise_ceiling: str
    split: SplitSettings
    caption_source: str
    test_without_caption: str
    background: int
    image_size: int

    @classmethod
    def model_validate(cls, values: Any) -> "Settings":
        """The settings, checked. Raises ValueError: a key is missing or unknown, or has a value that it cannot have."""
        _check_keys("", values, cls._fields)
        _check_keys("split.", values["split"], SplitSettings._fields)
        for key in ("folder", "name"):
            _check_value(f"split.{key}", values["split"][key], _is_text, "a text")
        _check_value("split.pool", values["split"]["pool"], *_one_of("subject", "shared"))
        _check_value("split.variant", values["split"]["variant"], _is_text, "the variant_id of the file, or only")
        for key, (accepts, expected) in _expected().items():
            _check_value(key, values[key], accepts, expected)
        for name, labels in values["regions"].items():
            _check_name(name)
            _check_value(f"regions.{name}", labels, _are_labels, "labels of regions, such as [PPA]")
        return cls(**{**values, "split": SplitSettings(**values["split"])})


def _expected() -> dict[str, tuple[Callable[[Any], bool], str]]:
    """What each setting may be, and that in words."""
    return {
        "root": (_is_text, "a folder"),
        "mask": (
            _is_mask,
            "labels of regions, such as [laion-general], or one of r2mean_above and file with its value",
        ),
        "regions": (lambda value: isinstance(value, dict), "names with labels, such as {places: [OPA, PPA]}"),
        "nan_voxels": _one_of("drop", "zero", "error"),
        "zscore": _one_of("none", "session", "run", "train"),
        "check_affine": (lambda value: isinstance(value, bool), "true or false"),
        "noise_ceiling": _one_of("computed", "4rep", "12rep"),
        "caption_source": _one_of("human", "ai", "all"),
        "test_without_caption": _one_of("error", "no caption"),
        "background": (lambda value: type(value) is int and 0 <= value <= 255, "a grey from 0 to 255"),
        "image_size": (lambda value: type(value) is int and 16 <= value <= 4096, "16 to 4096 pixels"),
    }


def _check_keys(where: str, values: Any, expected: tuple[str, ...]) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}{expected[0]} is missing; write the keys {', '.join(expected)}")
    unknown = [key for key in values if key not in expected]
    if unknown:
        raise ValueError(f"{where}{unknown[0]} is not a known key; expected {', '.join(expected)}")
    missing = [key for key in expected if key not in values]
    if missing:
        raise ValueError(f"{where}{missing[0]} is missing; config.laion_fmri.yaml has all of these keys")


def _check_value(key: str, value: Any, accepts: Callable[[Any], bool], expected: str) -> None:
    if not accepts(value):
        raise ValueError(f"{key} is {value!r}; expected {expected}")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name) or name.lower() in RESERVED:
        raise ValueError(f"regions has {name!r}; expected a name of letters, digits, _ . + and -, so rename it")


def _one_of(*words: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in words, f"{', '.join(words[:-1])} or {words[-1]}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_labels(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_mask(value: Any) -> bool:
    """Whether a value is a list of labels, or names one map or file."""
    if not isinstance(value, Mapping):
        return _are_labels(value)
    if set(value) == {"r2mean_above"}:
        return isinstance(value["r2mean_above"], int | float) and not isinstance(value["r2mean_above"], bool)
    return set(value) == {"file"} and _is_text(value["file"])
