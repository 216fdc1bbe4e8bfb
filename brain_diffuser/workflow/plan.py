"""The plan of a run: the configuration as the main process read it, handed on to jobs that start Snakemake again.

A job on a cluster reads config.yaml when it starts, which may be hours after it was planned. Its command line
names a copy of the configuration that was planned, so that edits for the next run do it no harm. Values that depend
on the machine are settled in that copy, once.
"""

import hashlib
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from brain_diffuser.artifacts import hdf5
from brain_diffuser.models import model_files

FOLDER = Path(".snakemake/plans")  # of the folder in which Snakemake runs
KEY = "planned"  # of the configuration, in jobs that were handed a plan


def hand_on(config: Mapping[str, Any]) -> str:
    """Write a configuration where jobs find it; returns their setting, as in planned=.snakemake/plans/0a1b.yaml."""
    text = yaml.safe_dump(_plain(config), sort_keys=False)
    path = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    if not path.is_file():
        with hdf5.atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return f"{KEY}={path.as_posix()}"


def handed(path: str | Path) -> dict[str, Any]:
    """The configuration that was planned.

    Raises FileNotFoundError: the plan is not there, as on a machine that does not see the folder of the run.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}, the plan of this run, is missing; jobs need the folder .snakemake of the run, so put the project "
            "where all machines see it"
        )
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def device(wanted: str) -> str:
    """The device that `compute.device: auto` stands for on this machine: cuda, mps or cpu; any other as it is."""
    if wanted != "auto":
        return wanted
    if shutil.which("nvidia-smi"):
        return "cuda"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"


def dtype(on_device: str) -> str:
    """The precision that `compute.dtype: auto` stands for on a device."""
    return model_files.PRECISIONS[on_device][0]


def _plain(value: Any) -> Any:
    """The same of Python's own types; a configuration may come in Snakemake's."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
