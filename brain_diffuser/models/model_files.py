"""Which files of the published models a job reads. Rules and config read this module, so it does not import torch."""

from pathlib import Path

AUTOENCODER = "kl-f8.pth"
"""The autoencoder that is published beside Versatile Diffusion's original files."""

PRECISIONS = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float16", "bfloat16", "float32"),
    "mps": ("float32", "float16", "bfloat16"),
}
"""Precisions in which networks can be computed on each device; the first is that of `compute.dtype: auto`."""


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
        is_old = (path / "pytorch_model.bin").is_file() and not (path / "model.safetensors").is_file()
        both = ["config.json", "pytorch_model.bin" if is_old else "model.safetensors"]
        is_split = (path / "vocab.json").is_file() and not (path / "tokenizer.json").is_file()
        parts = {
            "clip_text": [*both, *(["vocab.json", "merges.txt"] if is_split else ["tokenizer.json"])],
            "clip_vision": [*both, "preprocessor_config.json"],
        }
    return {feature: [str(path / name) for name in names] for feature, names in parts.items()}


def description(checkpoint: str | Path) -> list[str]:
    """The JSON beside a checkpoint that describes its network; if there is none, the sizes are the published ones."""
    path = Path(checkpoint).with_suffix(".json")
    return [str(path)] if path.is_file() else []
