"""VDVAE checkpoints: the published `.th` files, or safetensors, each with an optional description beside it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brain_diffuser.models import checkpoints, layout
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig

KINDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number"}
MOST_PIXELS = 1024  # of a resolution, and of blocks at one


def load(path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> VDVAE:
    """The VDVAE of a checkpoint, ready to run.

    Its sizes are in `<stem>.json` beside the file, with the fields of `VDVAEConfig`; without it they are imagenet64's.
    `dtype` is that of the convolutions; the residual stream, latents and output stay float32.

    Raises FileNotFoundError: there is no such file. ValueError: it holds no tensors, or those of another model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; expected a VDVAE checkpoint, see README "Weights"')
    config = read_config(path.with_suffix(".json"))
    description = f"{path.with_suffix('.json')} does not describe a VDVAE ("
    with checkpoints.describing(description, vars(config), ")"), torch.device("meta"):
        model = VDVAE(config)
    # checkpoints of data-parallel training call every tensor module.*
    tensors = {name.removeprefix("module."): tensor for name, tensor in checkpoints.read_tensors(path).items()}
    checkpoints.fill(model, tensors, path, f"{path.with_suffix('.json').name} (imagenet64 if there is none)")
    model.to(device, torch.float32)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype)
    layout.arrange(model, device, dtype)
    return model.eval().requires_grad_(False)


def read_config(path: Path) -> VDVAEConfig:
    """The sizes that a description holds; those of imagenet64 if the file does not exist."""
    if not path.is_file():
        return VDVAEConfig.imagenet64
    try:
        description = checkpoints.read_config(path.parent, path.name)
        for key, value in description.items():
            numbers = [int(number) for number in re.findall(r"\d+", value)] if isinstance(value, str) else []
            if max(numbers, default=0) > MOST_PIXELS:  # thousands of blocks would take hours to build
                raise ValueError(f"{key} has {max(numbers)}, where at most {MOST_PIXELS} can be")
        for field in dataclasses.fields(VDVAEConfig):
            value = description.get(field.name, field.default)
            if field.type is float and type(value) is int:
                description[field.name] = float(value)
            elif field.name in description and type(value) is not field.type:
                raise TypeError(f"{field.name} is of type {type(value).__name__}, not {KINDS[field.type]}")
        return VDVAEConfig(**description)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        known = ", ".join(field.name for field in dataclasses.fields(VDVAEConfig))
        raise ValueError(f"{path} does not describe a VDVAE ({error}); expected a JSON object with {known}") from error
