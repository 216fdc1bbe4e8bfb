"""Reading VDVAE checkpoints: the published `.th` files and safetensors, each with an optional description beside it."""

import dataclasses
import json
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from brain_diffuser.vdvae.model import VDVAE, VDVAEConfig


def load(path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> VDVAE:
    """The model of a checkpoint, ready to run.

    Sizes come from `<stem>.json` beside the file, the fields of `VDVAEConfig`; without one they are imagenet64's.
    `dtype` is that of the convolutions; the residual stream, latents and output stay float32.

    Raises FileNotFoundError: no such file. ValueError: not a file of tensors, or tensors of another model.
    """
    path = Path(path)
    config = read_config(path.with_suffix(".json"))
    with torch.device("meta"):
        model = VDVAE(config)
    tensors = read_tensors(path)
    check_tensors(path, model, tensors)
    model.load_state_dict(tensors, assign=True)
    model.to(device, torch.float32)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype)
    return model.eval().requires_grad_(False)


def read_config(path: Path) -> VDVAEConfig:
    """The description of a model; imagenet64 if the file does not exist."""
    if not path.is_file():
        return VDVAEConfig.imagenet64
    try:
        return VDVAEConfig(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        known = ", ".join(field.name for field in dataclasses.fields(VDVAEConfig))
        raise ValueError(f"{path} does not describe a VDVAE ({error}); expected a JSON object with {known}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the `module.` of data-parallel training."""
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; expected a VDVAE checkpoint, see README "Weights"')
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors alone; is the download complete?"
        ) from error
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def check_tensors(path: Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raises ValueError, naming the first tensors, unless a checkpoint holds this model's tensors and nothing else."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = {
        "lacks": [name for name in expected if name not in found],
        "has the unknown": [name for name in found if name not in expected],
        "differs in": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in expected.items()
            if found.get(name, shape) != shape
        ],
    }
    said = [
        f"{problem} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for problem, names in problems.items()
        if names
    ]
    if said:
        raise ValueError(
            f"{path.name} {'; '.join(said)}; this looks like a different VDVAE than "
            f'{path.with_suffix(".json").name} (imagenet64 if there is none) describes, see README "Weights"'
        )
