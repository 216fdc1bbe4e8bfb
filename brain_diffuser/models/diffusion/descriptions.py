"""What a folder or file of Versatile Diffusion says of its networks, read without diffusers (4 CPU-s to import)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.models import checkpoints, model_files

STEM = "diffusion_pytorch_model"
LARGEST_LATENTS = 1024  # their side; images of 8192 pixels
UNET = {
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "image_unet": UNET,
    "text_unet": UNET,
    "vae": {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    },
}
"""Descriptions of the published networks, as far as they differ from diffusers' defaults."""
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
"""The noise schedule of Stable Diffusion 1, with which `ddim` computes and its UNet must have been trained."""


def describe(path: Path, component: str) -> dict[str, Any]:
    """The description of one network of a folder or of an original file.

    Raises FileNotFoundError: a folder has none. ValueError: it does not describe Versatile Diffusion.
    """
    file = description_file(path, component)
    if model_files.is_checkpoint(path) and not file.is_file():
        return PUBLISHED[component]
    description = checkpoints.read_config(file.parent, file.name)
    if model_files.is_checkpoint(path):
        if set(description) != set(PUBLISHED) or not all(isinstance(each, dict) for each in description.values()):
            raise ValueError(
                f"{file} has {', '.join(description)}; expected {', '.join(PUBLISHED)}, each described as diffusers "
                "does"
            )
        description = description[component]
    if component == "image_unet":
        check_sample_size(file, description, "the published model")
    levels = description.get("block_out_channels", [])
    if not isinstance(levels, list | tuple):
        raise ValueError(f"{file} has block_out_channels {levels!r}; expected a list with a number for each level")
    return description


def check_sample_size(file: Path, description: Mapping[str, Any], model: str) -> None:
    """Raises ValueError: a UNet's description lacks the side of its latents, or has one that cannot be."""
    side = description.get("sample_size")
    if side is None:
        raise ValueError(f"{file} has no sample_size; expected the side of the latents, 64 for {model}. Add it.")
    if type(side) is not int or not 0 < side <= LARGEST_LATENTS:
        raise ValueError(
            f"{file} has sample_size {side!r}; expected the side of the latents, 64 for {model}. Correct it."
        )


def description_file(path: Path, component: str) -> Path:
    """Where the description of one network of a folder or of an original file is."""
    return path.with_suffix(".json") if model_files.is_checkpoint(path) else path / component / "config.json"


def image_size(path: str | Path) -> int:
    """Side in pixels of the images that both networks were trained on, 512 for the published ones."""
    unet, vae = (describe(Path(path), component) for component in ("image_unet", "vae"))
    return unet["sample_size"] * 2 ** (len(vae.get("block_out_channels", (64,))) - 1)
