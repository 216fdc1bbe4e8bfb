"""Which files of the published models a job reads. Rules and config read this module, so it does not import torch."""

import json
import os
from pathlib import Path

AUTOENCODER = "kl-f8.pth"
"""The autoencoder that is published beside Versatile Diffusion's original files."""

INDEX = ".index"
"""Part of the names of files that say in which shard of a model each tensor is."""


def is_checkpoint(versatile_diffusion: str | Path) -> bool:
    """Whether Versatile Diffusion is one of its authors' files rather than a folder in diffusers' layout."""
    return Path(versatile_diffusion).suffix == ".pth"


def diffusion(versatile_diffusion: str | Path) -> list[str]:
    """Files and folders of Versatile Diffusion's UNets and autoencoder."""
    path = Path(versatile_diffusion)
    if is_checkpoint(path):
        return [str(path), str(path.with_name(AUTOENCODER)), *description(path)]
    return [str(path / component) for component in ("image_unet", "text_unet", "vae")]


def image_size(versatile_diffusion: str | Path) -> list[str]:
    """Files and folders that tell the size of Versatile Diffusion's images; none if it is the published one."""
    path = Path(versatile_diffusion)
    return description(path) if is_checkpoint(path) else [str(path / component) for component in ("image_unet", "vae")]


def clip(folder: str | Path, versatile_diffusion: str | Path) -> dict[str, list[str]]:
    """Files and folders of CLIP that each feature reads: folders of a tower, or files of both towers' folder."""
    path = Path(folder)
    if path == Path(versatile_diffusion) or (path / "text_encoder").is_dir():
        parts = {
            "clip_text": ["text_encoder", "tokenizer"],
            "clip_vision": ["image_encoder", "image_feature_extractor"],
        }
    else:
        both = ["config.json", *tensor_files(path, "model")]
        is_split = (path / "vocab.json").is_file() and not (path / "tokenizer.json").is_file()
        parts = {
            "clip_text": [*both, *(["vocab.json", "merges.txt"] if is_split else ["tokenizer.json"])],
            "clip_vision": [*both, preprocessing(path)],
        }
    return {feature: [str(path / name) for name in names] for feature, names in parts.items()}


def single_checkpoint(base: str | Path) -> str | None:
    """The file of UNet and autoencoder in a folder of Stable Diffusion; None if it has a folder for each, or neither.

    Raises ValueError: it has several such files.
    """
    folder = Path(base)
    if (folder / "unet").is_dir():
        return None
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(names) > 1:
        raise ValueError(f"{folder} has {names[0]} and {names[1]}; expected one checkpoint, so move the other away")
    return names[0] if names else None


def adapter_encoder(adapters: str | Path) -> str:
    """Where the image encoder is in a folder of IP-Adapters: as published, or directly there."""
    return "image_encoder" if (Path(adapters) / "image_encoder").is_dir() else "models/image_encoder"


def adapter(adapters: str | Path, *, is_xl: bool, is_plus: bool) -> Path:
    """The file of an IP-Adapter in their folder: as published, or directly there; `.safetensors` first, then `.bin`."""
    stem = f"ip-adapter{'-plus' if is_plus else ''}_{'sdxl_vit-h' if is_xl else 'sd15'}"
    published = Path(adapters) / ("sdxl_models" if is_xl else "models") / f"{stem}.safetensors"
    places = (published.parent, Path(adapters))
    found = (place / f"{stem}{ending}" for place in places for ending in (".safetensors", ".bin"))
    return next((path for path in found if path.is_file()), published)


def description(checkpoint: str | Path) -> list[str]:
    """The JSON beside a checkpoint that describes its network; if there is none, the sizes are the published ones."""
    path = Path(checkpoint).with_suffix(".json")
    return [str(path)] if path.is_file() else []


def tensor_names(stem: str) -> list[str]:
    """Names that a model's file of tensors may have, the preferred first: whole before shards, then half precision.

    `stem` is `model` (transformers) or `diffusion_pytorch_model` (diffusers).
    """
    torchs = "pytorch_model" if stem == "model" else stem
    return [
        *(f"{stem}.safetensors", f"{torchs}.bin"),
        *(f"{stem}.safetensors{INDEX}.json", f"{torchs}.bin{INDEX}.json"),
        *(f"{stem}.fp16.safetensors", f"{torchs}.fp16.bin"),
        *(f"{stem}.safetensors{INDEX}.fp16.json", f"{torchs}.bin{INDEX}.fp16.json"),
    ]


def tensor_files(folder: Path, stem: str) -> list[str]:
    """Names of the files that hold a model's tensors: one, or an index and its shards; the usual name if none is there.

    An index that cannot be read stands for its shards too: what reads the model says what is wrong with it.
    """
    names = tensor_names(stem)
    name = next((name for name in names if (folder / name).is_file()), names[0])
    if INDEX not in name:
        return [name]
    try:
        shards = set(json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [name]
    return [name, *sorted(shard for shard in shards if is_plain_name(shard))]


def is_plain_name(name: object) -> bool:
    """Whether a file's description names a file beside it, and none elsewhere."""
    is_text = isinstance(name, str) and name.isprintable() and name not in ("", ".", "..")
    return is_text and not {"/", "\\", ":"} & set(str(name))


def preprocessing(folder: Path) -> str:
    """The name of the file that describes a folder's preprocessing; transformers 5 writes that of all parts in one."""
    old, new = "preprocessor_config.json", "processor_config.json"
    return new if (folder / new).is_file() and not (folder / old).is_file() else old


def cache_hint(path: str | Path) -> str:
    """What to name instead of a folder of a hub's cache that is no model itself; nothing if it is none.

    A cache has `models--<owner>--<name>/snapshots/<commit>/`, and in `refs/` the commit of each branch.
    """
    root = Path(path)
    root = root.parent if root.name in ("snapshots", "blobs", "refs") else root
    if not (root / "snapshots").is_dir():
        models = sorted(root.glob("models--*/snapshots")) if root.is_dir() else []
        return f"it is a hub's cache, so name one of its snapshots, such as {_snapshot(models[0])}" if models else ""
    return f"it is a folder of a hub's cache, so name its snapshot, {_snapshot(root / 'snapshots')}"


def _snapshot(snapshots: Path) -> Path:
    """The snapshot of the branch main, or the newest."""
    try:
        main = (snapshots.parent / "refs/main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        main = ""
    if is_plain_name(main) and (snapshots / main).is_dir():
        return snapshots / main
    return max((path for path in snapshots.iterdir() if path.is_dir()), key=os.path.getmtime, default=snapshots / "...")
