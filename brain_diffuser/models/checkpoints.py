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
    """The JSON description of a model in its folder.

    Raises FileNotFoundError: there is none. ValueError: it is not a JSON object.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing; expected the model folder as published, see README "Weights"')
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); expected a model's description") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path} is a JSON {type(description).__name__}; expected an object that describes a model")
    return description


def build(model_class: type[Model], config: Mapping[str, Any]) -> Model:
    """A diffusers model with fresh weights; keys with a leading underscore, which say who wrote the file, are left out.

    Raises ValueError: the model has no such key.
    """
    try:
        return model_class(**{key: value for key, value in config.items() if not key.startswith("_")})
    except TypeError as error:
        raise ValueError(f"no {model_class.__name__} fits its description: {error}; is it of another model?") from error


def find_tensors(folder: str | Path, stem: str) -> Path:
    """The file of tensors in a folder.

    It is `<stem>.safetensors`, or else the library's file in torch's format, or either of them in half precision
    (`.fp16.`).

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


def read_tensors(path: Path, is_needed: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
    """The tensors of a file whose names are needed, also when they lie under `state_dict`.

    Tensors stay in the file until they are used, and others are never read. Files in torch's format are read whole,
    because torch does not compare their checksums (0.3 s for each GB).

    Raises ValueError: the file holds something else than tensors, or is damaged.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if is_needed(name)}
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _compare_checksums(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle makes torch's reader stumble in as many ways as there are bytes
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors alone; is the download complete?"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds one {type(content).__name__}; expected tensors by name. Is it of another model?"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(
                f"{path} has {name!r} of type {type(value).__name__}; expected tensors by name, and nothing else. "
                "Is it of another model?"
            )
    return {name: tensor for name, tensor in content.items() if is_needed(name)}


def _compare_checksums(path: Path) -> None:
    """Compare the checksums of a file in torch's format, if it was written with any.

    Raises BadZipFile, ValueError: one differs.
    """
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip() if any(entry.CRC for entry in file.infolist()) else None
    if damaged:
        raise ValueError(f"{damaged} has another checksum")


def check(
    path: Path, expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], described_by: str = "its config.json"
) -> None:
    """Check that a file has exactly the tensors that a model expects.

    Parameters
    ----------
    path : path
        The file, for the message.
    expected : {name: tensor}
        Of the model; only names and shapes count.
    tensors : {name: tensor}
        Of the file.
    described_by : str
        What describes the model, for the message.

    Raises
    ------
    ValueError
        The file lacks tensors, has others, or has other shapes; the message names the first three.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = {
        "lacks": [name for name in expected if name not in tensors],
        "has the unknown": [name for name in tensors if name not in expected],
        "differs in": [
            f"{name} {shapes[name]} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if shapes.get(name, tensor.shape) != tensor.shape
        ],
    }
    sentences = [
        f"{problem} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for problem, names in problems.items()
        if names
    ]
    if sentences:
        raise ValueError(
            f"{path} {'; '.join(sentences)}; this looks like another model than {described_by} describes, "
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
    """Fill a model that was built on the meta device with the tensors of a file, in place.

    Tensors are copied out of the file one by one: where a tensor begins in a file sets which instructions multiply it,
    and with that the last bits of every result.

    Parameters
    ----------
    model : module
        The model.
    tensors : {name: tensor}
        Of the file.
    path : path
        The file, for the message.
    described_by : str
        What describes the model, for the message.
    names : {name in the file: name in the model}, optional
        Without it the names are the same. It need not cover the model if other files fill the rest.
    device : torch.device or str
        Where the model will run.
    dtype : torch.dtype, optional
        Of the model; None is that of the file.

    Raises
    ------
    ValueError
        As `check`.
    """
    state = model.state_dict()
    names = names or {name: name for name in state}
    check(path, {name: state[of_model] for name, of_model in names.items()}, tensors, described_by)
    copies = {
        names[name]: tensor.to(device, dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    model.load_state_dict(copies, strict=False, assign=True)
