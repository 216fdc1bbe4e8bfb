"""The plan of a run: the configuration as the main process read it, handed on to jobs that start Snakemake again.

A job on a cluster reads config.yaml when it starts, which may be hours after it was planned. Its command line
names a copy of the configuration that was planned, so that edits for the next run do it no harm. Values that depend
on the machine are settled in that copy, once.
"""

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from brain_diffuser.artifacts import hdf5, messages
from brain_diffuser.models import precisions

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, ten times faster, where PyYAML has it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FOLDER = Path(".snakemake/plans")  # of the folder in which Snakemake runs
LARGE_GPU_GIB = 15
SMALL_MODEL_BYTES = 500_000_000  # the published ones have 2.3 GB and more
BFLOAT16_IS_CHOSEN: messages.Sentence = (
    "compute.dtype: auto is bfloat16 in this folder of results, because the processor multiplies it faster; for "
    "float32, set compute.dtype to float32"
)
KEY = "planned"  # of the configuration, in jobs that were handed a plan
SETTLED = "settled"  # of a plan: what "auto" stands for


def hand_on(config: Mapping[str, Any]) -> str:
    """Write a configuration where jobs find it; returns their setting, as in planned=.snakemake/plans/0a1b.yaml."""
    text = yaml.dump(_plain(config), Dumper=DUMPER, sort_keys=False)
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
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=LOADER)


def device(wanted: str) -> str:
    """The device that `compute.device: auto` stands for on this machine: cuda, mps or cpu; any other as it is."""
    if wanted != "auto":
        return wanted
    if shutil.which("nvidia-smi"):
        return "cuda"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"


def is_small(model: str | Path) -> bool:
    """Whether a diffusion model is there, in a folder or in one file, and smaller than the published ones by far."""
    path = Path(model)
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return bool(files) and sum(each.stat().st_size for each in files) < SMALL_MODEL_BYTES


def batch_sizes(on_device: str, is_small: bool = False) -> dict[str, int]:
    """The images in a batch that `compute.batch_size: auto` stands for, by stage.

    On a processor larger batches make a network slower, because what it holds leaves the caches; small networks lose
    more by small batches.
    """
    if on_device == "cpu" and is_small:
        return {"features": 32, "stage1": 16, "recon": 16}
    if on_device == "cuda" and _gpu_gib() >= LARGE_GPU_GIB:
        return {"features": 32, "stage1": 16, "recon": 8}
    return (
        {"features": 16, "stage1": 8, "recon": 4} if on_device == "cuda" else {"features": 4, "stage1": 4, "recon": 1}
    )


def _gpu_gib() -> float:
    """The memory of the smallest GPU of this machine; 0 if there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=20, check=True).stdout.split(
            "\n"
        )
        return min(float(line) for line in lines if line.strip()) / 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0.0


def settle(
    config: Mapping[str, Any], on_device: str, known: Mapping[str, Any], is_small: bool = False
) -> dict[str, Any]:
    """Write into a configuration what "auto" stands for in its section `compute`.

    Parameters
    ----------
    config : mapping
        config.yaml; its section `compute` is changed, but for the device: each machine uses its own.
    on_device : str
        cuda, mps or cpu.
    known : {key: value}
        What "auto" has stood for in the folder of results, which it goes on to stand for. One that was begun before
        the device was kept has none: batch sizes were no settings of its results.
    is_small : bool
        Whether the networks are small ones (`is_small`): a processor computes these in float32, because preparing each
        of their many small products for bfloat16 takes longer than the product.

    Returns
    -------
    {key: value}
        What it stands for now, by the keys of config.yaml.
    """
    compute, settled = config["compute"], {}
    sizes = compute["batch_size"]
    places = [("compute.dtype", compute, "dtype")]
    places += [(f"compute.batch_size.{stage}", sizes, stage) for stage in sizes]
    for key, section, name in places:
        if section[name] == "auto":
            if name == "dtype":
                is_plain = is_small and on_device == "cpu"
                chosen: Any = precisions.PRECISIONS["cpu"][0] if is_plain else precisions.choose(on_device)
            else:
                chosen = batch_sizes(on_device, is_small)[name]
            settled[key] = known[key] if type(known.get(key)) is type(chosen) else chosen
            section[name] = settled[key]
    if compute.get("device") == "auto":
        settled["compute.device"] = known.get("compute.device", "" if known else on_device)
    return settled


def _plain(value: Any) -> Any:
    """The same of Python's own types; a configuration may come in Snakemake's."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
