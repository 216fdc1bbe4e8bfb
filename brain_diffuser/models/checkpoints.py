"""Model folders as diffusers and transformers write them: a description and a file of tensors, loaded strictly."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def read_config(folder: str | Path, name: str = "config.json") -> dict[str, Any]:
    """A model's description.

    Raises FileNotFoundError: there is none. ValueError: it is no JSON object.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; expected the model folder as published, see README "Weights"')
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); expected a model's description") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is a JSON {type(found).__name__}; expected an object that describes a model")
    return found


def build(model_class: type[Model], config: Mapping[str, Any]) -> Model:
    """A diffusers model of fresh weights; keys with a leading underscore say who wrote the description.

    Raises ValueError: the model takes no such key.
    """
    try:
        return model_class(**{key: value for key, value in config.items() if not key.startswith("_")})
    except TypeError as error:
        raise ValueError(f"no {model_class.__name__} fits its description: {error}; is it of another model?") from error


def find_tensors(folder: str | Path, stem: str) -> Path:
    """The file of tensors in a folder: `<stem>.safetensors`, or else torch's file of the same library, or of either the
    variant in half precision (`.fp16.`).

    Raises FileNotFoundError: the folder has none of them.
    """
    torchs = "pytorch_model" if stem == "model" else stem
    names = f"{stem}.safetensors", f"{torchs}.bin", f"{stem}.fp16.safetensors", f"{torchs}.fp16.bin"
    for name in names:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise FileNotFoundError(
        f'{folder} has neither {names[0]} nor {names[1]}; expected one, or its .fp16 form, see README "Weights"'
    )


def read_tensors(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
    """The tensors whose name is wanted, also when they lie under `state_dict`.

    They stay in the file until they are used; the unwanted are never read. Only files in torch's format from before
    version 1.6 have to be read whole.

    Raises ValueError: not a file of tensors alone.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if wanted(name)}
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle makes torch's reader stumble in as many ways as there are bytes
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors alone; is the download complete?"
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds one {type(found).__name__}; expected tensors by name. Is it of another model?")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(
                f"{path} has {name!r} of type {type(value).__name__}; expected tensors by name, and nothing else. "
                "Is it of another model?"
            )
    return {name: tensor for name, tensor in found.items() if wanted(name)}


def check(
    path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor], described_by: str = "its config.json"
) -> None:
    """Raises ValueError, naming the first tensors, unless a file holds the expected tensors and nothing else."""
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    problems = {
        "lacks": [name for name in expected if name not in found],
        "has the unknown": [name for name in found if name not in expected],
        "differs in": [
            f"{name} {shapes[name]} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if shapes.get(name, tensor.shape) != tensor.shape
        ],
    }
    said = [
        f"{problem} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for problem, names in problems.items()
        if names
    ]
    if said:
        raise ValueError(
            f"{path} {'; '.join(said)}; this looks like another model than {described_by} describes, "
            'see README "Weights"'
        )


def fill(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    path: Path,
    described_by: str = "its config.json",
    *,
    names: Mapping[str, str] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> None:
    """Give a model built on the meta device the tensors of a file; raises ValueError as `check` does.

    `names` translates {a name in the file: the model's}; it need not cover the model if other files fill the rest.
    `dtype` None is the file's. Tensors are copied out of the file one by one: where one begins in a file sets which
    instructions multiply it, and with that the last bits of every result.
    """
    state = model.state_dict()
    names = names or {name: name for name in state}
    check(path, {name: state[ours] for name, ours in names.items()}, tensors, described_by)
    copies = {
        names[name]: tensor.to(device, dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    model.load_state_dict(copies, strict=False, assign=True)
