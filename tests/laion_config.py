"""The configuration of config.laion_fmri.yaml for a toy tree, and the artifacts that its adapter writes."""

import copy
import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from toy_workflow import ROOT

from brain_diffuser.workflow.config import schema


@functools.cache
def _shipped() -> dict[str, Any]:
    config, ours = (yaml.safe_load((ROOT / name).read_text()) for name in ("config.yaml", "config.laion_fmri.yaml"))
    return merged(config, ours)


def merged(config: dict, other: dict) -> dict:
    """Nested settings, as Snakemake joins those of several files."""
    for key, value in other.items():
        is_section = isinstance(value, dict) and isinstance(config.get(key), dict)
        config[key] = merged(config[key], value) if is_section else value
    return config


def laion_config(root: Path, changes: dict | None = None) -> schema.Config:
    """The shipped configuration with the tree at `root`; `changes` are nested settings of the dataset."""
    return schema.Config.model_validate(laion_settings(root, changes))


def laion_settings(root: Path, changes: dict | None = None) -> dict[str, Any]:
    """The same, not checked yet."""
    config = copy.deepcopy(_shipped())
    dataset = config["datasets"]["laion_fmri"]
    dataset["captions"] = str(root / "stimuli/task-images_desc-captions.csv")
    split = {"folder": str(root / "splits")}
    merged(dataset, {"settings": {"root": str(root), "image_size": 64, "split": split}})
    nsd = (changes or {}).get("nsd", {})
    merged(dataset, {key: value for key, value in (changes or {}).items() if key != "nsd"})
    merged(config["nsd"], nsd)
    return config


def write_artifacts(config: schema.Config, subject: str, folder: Path, stages: tuple[str, ...] = ()) -> Path:
    """What the jobs of the stages write (all of them without `stages`), in `folder`."""
    folder.mkdir(exist_ok=True)
    adapter = config.adapter
    tables = [str(folder / name) for name in adapter.tables]
    outputs = {
        "design": SimpleNamespace(stimuli=folder / "stimuli.tsv", tables=tables),
        "betas": SimpleNamespace(
            train=folder / "betas_train.h5", test=folder / "betas_test.h5", rois=folder / "rois.h5"
        ),
        "captions": SimpleNamespace(captions=folder / "captions.json"),
    }
    for stage in stages or ("design", "betas", "stimuli", "captions"):
        paths = {name: source.paths for name, source in adapter.inputs(config, stage, subject).items()}
        inputs = SimpleNamespace(**paths, stimuli=folder / "stimuli.tsv")
        settings = adapter.job_settings(config, stage, subject)
        if stage == "stimuli":
            for split in ("train", "test"):
                images = SimpleNamespace(images=folder / f"stimuli_{split}.h5")
                adapter.write_stimuli(inputs, images, settings, split, None)
        else:
            getattr(adapter, f"write_{stage}")(inputs, outputs[stage], settings)
    return folder
