"""The files of the workflow itself, each with what reads it."""

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import damage
import yaml
from reliability import Lost, Reader

from brain_diffuser.workflow import estimate, receipts
from brain_diffuser.workflow.receipts import Receipt

ROOT = Path(__file__).resolve().parents[1]


def write_config(folder: Path) -> Path:
    """config.yaml as it ships, without remarks, and the models of the demo that it names."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for key in ("vdvae", "versatile_diffusion"):
        model = folder / config["datasets"]["demo"][key]
        model.parent.mkdir(parents=True, exist_ok=True)
        model.touch()
    config["metrics"]["repeated"] = ["recon"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return folder / "config.yaml"


def read_config(path: Path) -> dict[str, Any]:
    with contextlib.chdir(path.parent):
        return estimate.read_config([]).model_dump()


def is_config(values: Any, sound: Any) -> bool:
    """All keys; a value that the schema accepts is one that somebody may have meant."""
    return values.keys() == sound.keys()


def write_receipt(folder: Path) -> Path:
    artifact = folder / "results/sub01/ridge/clip_test.h5"
    artifact.parent.mkdir(parents=True)
    shutil.copy(__file__, artifact)
    name = receipts.name_of(artifact, folder / "results")
    inputs = {
        "data/mask.nii.gz": {"files": receipts.contents(artifact)},
        "<results>/sub01/betas.h5": {"digest": "ab12"},
    }
    files = receipts.contents(artifact, whole=True)
    receipt = Receipt(
        name, "ridge", "nsd", "logs/a.log", [["alpha", "60000"]], list(inputs), inputs, files, {"numpy": "2"}
    )
    receipts.write(receipt, folder / "results")
    return receipts.place(name, folder / "results")


def read_receipt(path: Path) -> dict[str, Any]:
    receipt = receipts.read(path)
    if receipt is None:
        raise Lost
    return dataclasses.asdict(receipt) | {"digest": receipt.digest, "values": receipt.values}


def is_receipt(values: Any, sound: Any) -> bool:
    """The types of a receipt; another digest, parameter or input makes the artifact again."""
    files = [values["files"], *(noted.get("files", {}) for noted in values["inputs"].values())]
    entries = [entry for each in files for entry in each.values()]
    are_entries = all([type(part) for part in entry] == [int, int, str] for entry in entries)
    are_texts = all(type(part) is str for pair in values["params"] for part in pair)
    return values.keys() == sound.keys() and are_entries and are_texts


DESCRIPTION = (*damage.JSON, *damage.TEXT, *damage.BYTES)
READERS = (
    Reader("configuration", ".yaml", write_config, read_config, (*damage.TEXT, *damage.YAML, *damage.BYTES), is_config),
    Reader("receipt", ".json", write_receipt, read_receipt, DESCRIPTION, is_receipt),
)
