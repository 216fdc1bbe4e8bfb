"""The diffusion models that reconstruct: networks, and what an unguided pass of each is told."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from brain_diffuser.generation import img2img
from brain_diffuser.models import clip
from brain_diffuser.models.diffusion import stable_diffusion, weights


class Backbone(NamedTuple):
    """What `recon.reconstruct` takes of a diffusion model."""

    models: img2img.Models
    unconditional: tuple[Float[Tensor, "1 tokens dim"], ...]


def load_versatile_diffusion(
    folder: str | Path, clip_folder: str | Path, device: str | torch.device, dtype: torch.dtype
) -> Backbone:
    """Versatile Diffusion, whose unguided pass sees the embeddings of CLIP. For the arguments see `load`."""
    models = weights.load(folder, device, dtype)
    read_text = clip.ClipText.load(clip_folder, device=device)
    read_vision = clip.ClipVision.load(clip_folder, device=device)
    return Backbone(models, clip.unconditional(read_text, read_vision, img2img.image_size(*models)))


def load_stable_diffusion(
    folder: str | Path, clip_folder: str | Path, device: str | torch.device, dtype: torch.dtype
) -> Backbone:
    """Stable Diffusion, whose folder holds its own text tower. For the arguments see `load`.

    Raises ValueError: a UNet that reads another text tower.
    """
    models = stable_diffusion.load(folder, device, dtype)
    read_text = clip.HiddenText.load(folder, device=device)
    width = models[0].unet.config["cross_attention_dim"]
    if read_text.shape[1] != width:
        raise ValueError(
            f"{folder} has a text_encoder of {read_text.shape[1]} numbers a token, a unet that reads {width}; expected "
            "the same. Are both of one model?"
        )
    return Backbone(models, (read_text([""]),))


BACKBONES = {"versatile_diffusion": load_versatile_diffusion, "stable_diffusion": load_stable_diffusion}


def load(
    name: str, folder: str | Path, clip_folder: str | Path, device: str | torch.device, dtype: torch.dtype
) -> Backbone:
    """One of `layouts.CONDITIONS` with what its unguided pass is told.

    Parameters
    ----------
    name : str
        The diffusion model.
    folder : path
        Its weights.
    clip_folder : path
        CLIP's towers; not read for Stable Diffusion.
    device : device
        Where the networks run.
    dtype : dtype
        Of the networks; the embeddings that condition them are float32 whatever it is.

    Raises FileNotFoundError, ValueError: what the loaders raise.
    """
    return BACKBONES[name](folder, clip_folder, device, dtype)
