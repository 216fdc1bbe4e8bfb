"""What a killed training of a learned decoder goes on from: a folder that appears whole or not at all."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from brain_diffuser.artifacts import hdf5, messages, system_faults
from brain_diffuser.artifacts.new_file import NewFile
from brain_diffuser.decoding.network import Decoder
from brain_diffuser.decoding.training_data import Source

CURVE = "curve.json"
TENSORS = ("network.safetensors", "best.safetensors", "optimiser.pt")

logger = logging.getLogger(__name__)


def fingerprint_of(decoder: Decoder, sources: Mapping[str, Source], settings: Any) -> str:
    """A hash of all that the first step of a training starts from."""
    digest = hashlib.blake2b(repr((settings, list(sources))).encode(), digest_size=16)
    for tensor in decoder.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    for source in sources.values():
        for array in (source.nsd_id, source.fit):
            digest.update(array.tobytes())
    return digest.hexdigest()


def save(
    folder: Path,
    fingerprint: str,
    decoder: Decoder,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    curve: list[dict[str, float]],
    best: dict[str, Tensor],
) -> None:
    """Write all that the next epoch starts from, and sums of it, which `resume` compares.

    Raises SystemFault: the disk is full, or the system has something else against the folder.

    Parameters
    ----------
    folder : path
        Of the training; what it holds is replaced.
    fingerprint : str
        What `fingerprint_of` says of the training.
    decoder, optimiser, scaler
        As they are after the epoch.
    curve : list of {name: number}
        Losses of the epochs so far.
    best : {name: tensor}
        Weights of the best epoch so far.
    """
    with hdf5.atomic(folder / "last") as partial:
        partial.mkdir()
        save_file(decoder.state_dict(), partial / "network.safetensors")
        save_file(best, partial / "best.safetensors")
        with NewFile(partial / "optimiser.pt") as file:
            stream: Any = file
            torch.save({"optimiser": optimiser.state_dict(), "scaler": scaler.state_dict()}, stream)
        file.check()
        content = {
            "fingerprint": fingerprint,
            "curve": curve,
            "sums": {name: _sum_of(partial / name) for name in TENSORS},
        }
        (partial / CURVE).write_text(json.dumps(content | {"sum": _sum(content)}), encoding="utf-8")


def resume(
    folder: Path,
    fingerprint: str,
    decoder: Decoder,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Load, in place, what `save` wrote for the same training.

    Parameters
    ----------
    folder : path
        Of the training; it need not exist.
    fingerprint : str
        What `fingerprint_of` says of the training; a checkpoint with another one is not used.
    decoder, optimiser, scaler
        Set to their state after the last epoch that was saved.

    Returns
    -------
    curve, best
        Losses of the epochs that are done, and the best weights; both empty if nothing was saved.

    Raises
    ------
    ValueError
        What was saved is damaged. Nothing of it is loaded then.
    """
    device = decoder.target_mean.device
    for leftover in folder.glob("*.part-*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    last = folder / "last"
    if not last.is_dir() and not last.exists():
        return [], {}
    saved = _read_curve(last)
    if saved["fingerprint"] != fingerprint:
        logger.info("%s is of other data or settings; starting again", folder)
        return [], {}
    for name in TENSORS:
        if not system_faults.is_file(last / name):
            raise ValueError(_damaged(last, f"it lacks {name}"))
        if _sum_of(last / name) != saved["sums"][name]:
            raise ValueError(_damaged(last, f"{name} is not what was written"))
    decoder.load_state_dict(load_file(last / "network.safetensors", str(device)))
    state = torch.load(last / "optimiser.pt", map_location=device, weights_only=True)
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    logger.info("going on after epoch %d", len(saved["curve"]))
    return saved["curve"], load_file(last / "best.safetensors")


def _read_curve(last: Path) -> dict[str, Any]:
    """What `save` wrote beside the tensors.

    Raises ValueError: it is missing or damaged.
    """
    path = last / CURVE
    if not last.is_dir() or not system_faults.is_file(path):
        raise ValueError(_damaged(last, f"it lacks {CURVE}"))
    try:
        saved = json.loads(path.read_bytes())
        recorded = saved.pop("sum")
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        recorded, saved = None, {}
    if recorded != _sum(saved):
        raise ValueError(_damaged(last, f"{CURVE} is not what was written"))
    return saved


def _damaged(last: Path, what: str) -> messages.Sentence:
    return (
        f"{last}, from which the training would go on, is damaged: {what}. Move that folder away and run again; the "
        "training then begins with its first epoch."
    )


def _sum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sum_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
