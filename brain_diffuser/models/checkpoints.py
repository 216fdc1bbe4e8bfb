"""Model folders as diffusers and transformers write them: a description and files of tensors, loaded strictly.

Nothing of them is trusted: no code is run or asked for, sizes are compared before memory is taken, and what is damaged
is refused in one sentence.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import model_files

Model = TypeVar("Model", bound=nn.Module)

ATTENTION = (None, "eager", "sdpa")
"""Values of `_attn_implementation` that are part of transformers; the code of others comes from a hub or a package."""
MOST_LAYERS = 1024
LARGEST_NUMBER = 2**26
"""Larger ones in a description are mistakes: building such a network would take hours or all memory."""
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def read_config(folder: str | Path, name: str = "config.json") -> dict[str, Any]:
    """The JSON description of a model in its folder.

    Raises FileNotFoundError: there is none. ValueError: it is not a JSON object, or asks for code.
    """
    path = Path(folder) / name
    if not system_faults.is_file(path):
        hint = model_files.cache_hint(folder) or "expected the model folder as published"
        raise FileNotFoundError(f'{path} is missing; {hint}, see README "Weights"')
    try:
        with system_faults.named(path):
            text = path.read_text(encoding="utf-8-sig")
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); expected a model's description") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path} is a JSON {type(description).__name__}; expected an object that describes a model")
    for key, value in _entries(description):
        if key.endswith("attn_implementation"):
            asks = value not in ATTENTION if not isinstance(value, dict | list) else bool(value)
        else:
            asks = key in ("auto_map", "trust_remote_code", "custom_pipelines") and bool(value)
        if asks:
            raise ValueError(
                f"{path} has {key}: {json.dumps(value)[:80]}, which asks for code from a hub, and no such code is run; "
                "delete that key or name the folder as published"
            )
    return description


def _entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All keys of a JSON value with what they hold; the parts of a list have the key of the list."""
    is_list = isinstance(value, list | tuple)
    parts = value.items() if isinstance(value, dict) else ((key, part) for part in value) if is_list else ()
    for name, part in parts:
        yield str(name), part
        yield from _entries(part, str(name))


@contextmanager
def describing(beginning: str, description: Mapping[str, Any], ending: str = "") -> Iterator[None]:
    """Around what builds a network: any error, or numbers beyond all networks, says that the description is wrong.

    Raises ValueError: as said, with the reason between `beginning` and `ending`.
    """
    for key, value in _entries(dict(description)):
        most = MOST_LAYERS if "layers" in key else LARGEST_NUMBER
        if isinstance(value, int | float) and not abs(value) <= most:
            is_short = isinstance(value, float) or abs(value) < 10**300
            found = f"{value:.6g}" if is_short else "a number of more than 300 digits"
            reason = f"{key} is {found}, more than {most}"
            raise ValueError(f"{beginning}{reason}{ending}; is it damaged?")
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # a damaged description makes libraries stumble in as many ways as there are keys
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{beginning}{reason}{ending}; is it of another model?") from error


def build(model_class: type[Model], config: Mapping[str, Any], path: str | Path = "") -> Model:
    """A diffusers model with fresh weights; keys with a leading underscore, which say who wrote the file, are left out.

    `path` is the file of the description, for messages.

    Raises ValueError: the model has no such key, or none can be built so.
    """
    named = f"{path}: " if path else ""
    with describing(f"{named}no {model_class.__name__} fits its description: ", config):
        return model_class(**{key: value for key, value in config.items() if not key.startswith("_")})


def find_tensors(folder: str | Path, stem: str) -> Path:
    """The file of tensors in a folder, or the index of its shards.

    It is `<stem>.safetensors`, or else the library's file in torch's format; either of them in shards; or any of these
    in half precision (`.fp16.`).

    Raises FileNotFoundError: the folder has none of them.
    """
    names = model_files.tensor_names(stem)
    for name in names:
        if system_faults.is_file(Path(folder) / name):
            return Path(folder) / name
    hint = model_files.cache_hint(folder)
    if hint:
        raise FileNotFoundError(f"{folder} has no file of tensors: {hint}")
    raise FileNotFoundError(
        f'{folder} has neither {names[0]} nor {names[1]}; expected one, or its .fp16 form, see README "Weights"'
    )


def read_tensors(path: Path, is_needed: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
    """The tensors of a file, or of the shards of an index, whose names are needed, also when under `state_dict`.

    Tensors stay in the file until they are used, and others are never read. Files in torch's format are read whole,
    because torch does not compare their checksums (0.3 s for each GB).

    Raises ValueError: the file holds something else than tensors, or is damaged.
    """
    if path.suffix == ".json":
        return _read_shards(path, is_needed)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if is_needed(name)}
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle makes torch's reader stumble in as many ways as there are bytes
        system_faults.raise_if_any(error, path)
        raise _unreadable(path, error) from error
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


def _read_shards(index: Path, is_needed: Callable[[str], bool]) -> dict[str, Tensor]:
    """The needed tensors of the shards that an index names, each of which must hold what the index says, no more.

    Raises ValueError: the index is none, names files elsewhere, or does not fit the shards. FileNotFoundError: a shard
    is missing.
    """
    places = read_config(index.parent, index.name).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index} has no weight_map of tensors; expected the shard of each")
    for name, shard in places.items():
        if not model_files.is_plain_name(shard) or Path(shard).suffix == ".json":
            raise ValueError(
                f"{index} says that {name} lies in {json.dumps(shard)}; expected the name of a file in the same folder"
            )
    shards = dict.fromkeys(places.values())
    missing = [shard for shard in shards if not system_faults.is_file(index.parent / shard)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"{index.parent} lacks {missing[0]}{more} of the {len(shards)} shards: download it again, or copy all "
            "shards"
        )
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        of_shard = read_tensors(index.parent / shard, is_needed)
        expected = {name for name, place in places.items() if place == shard and is_needed(name)}
        for name in sorted(expected ^ of_shard.keys()):
            has = "has" if name in of_shard else "lacks"
            raise ValueError(
                f"{index.parent / shard} {has} {name}, other than {index.name} says; are both of one model?"
            )
        tensors |= of_shard
    return tensors


def _check_zip(path: Path) -> None:
    """Refuse what torch never writes: packed entries, of which a small file may hold terabytes; compare checksums.

    Torch compares none, and writes none if it is set to.

    Raises BadZipFile, ValueError: as said.
    """
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    claimed = sum(entry.file_size for entry in entries)
    if packed or claimed > path.stat().st_size:
        raise ValueError(f"{packed[0] if packed else 'its content'} is packed, to {claimed / 1e9:.3g} GB in all")
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip() if any(entry.CRC for entry in entries) else None
    if damaged:
        raise ValueError(f"{damaged} has another checksum")


def _unreadable(path: Path, error: Exception) -> ValueError:
    """The sentence of a file that cannot be read as tensors."""
    with open(path, "rb") as file:
        beginning = file.read(200)
    sentence = f"{path} cannot be read as a checkpoint of tensors alone"
    code = re.search(r"GLOBAL ([\w.]+)|Can only \w+ .* got (\S+)", str(error))
    if not beginning:
        return ValueError(f"{sentence}, because it is empty; download it again")
    if beginning.startswith(b"version https://git-lfs"):
        return ValueError(f"{sentence}, because it is a pointer of Git LFS to the file; run git lfs pull in its folder")
    if beginning.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in beginning):
        start = beginning[:40].decode()
        return ValueError(f"{sentence}, because it is text, which begins with {start!r}; download it again")
    if code:
        return ValueError(f"{sentence}; it asks for {code[1] or code[2]}, and no code of a download is run")
    if "is packed" in str(error):
        return ValueError(f"{sentence}; {error}, which torch never does. Download it again")
    return ValueError(f"{sentence}; is the download complete?")


def check(
    path: Path, expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], described_by: str = "its config.json"
) -> None:
    """Check that a file has exactly the tensors that a model expects.

    Parameters
    ----------
    path : path
        The file, for the message.
    expected : {name: tensor}
        Of the model; only names and shapes count, and whether numbers are whole.
    tensors : {name: tensor}
        Of the file.
    described_by : str
        What describes the model, for the message.

    Raises
    ------
    ValueError
        The file lacks tensors, has others, or others in shape or type; the message names the first three.
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
        "has the wrong type in": [
            f"{name} ({str(tensors[name].dtype).removeprefix('torch.')})"
            for name, tensor in expected.items()
            if name in tensors and (tensors[name].dtype in FLOATS) != tensor.is_floating_point()
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
        As `check`; numbers that are not finite, in the file or in `dtype`.
    """
    state = model.state_dict()
    names = names or {name: name for name in state}
    check(path, {name: state[of_model] for name, of_model in names.items()}, tensors, described_by)
    copies = {}
    for name, tensor in tensors.items():
        copy = tensor.to(device, dtype, copy=True, memory_format=torch.contiguous_format)
        if not _is_finite(copy):
            if _is_finite(tensor):
                kind = str(copy.dtype).removeprefix("torch.")
                raise ValueError(
                    f"{path} has {name}, which overflows in {kind}; set compute.dtype: bfloat16 or float32"
                )
            raise ValueError(f"{path} has {name}, which holds numbers that are not finite; download it again")
        copies[names[name]] = copy
    model.load_state_dict(copies, strict=False, assign=True)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite; their sum, which is quicker, tells of nearly all tensors that they are."""
    is_sum_finite = not tensor.is_floating_point() or bool(tensor.sum(dtype=torch.float32).isfinite())
    return is_sum_finite or bool(tensor.isfinite().all())
