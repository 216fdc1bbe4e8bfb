"""Stable Diffusion 1 as a backbone: conditioned by the hidden states of its own text tower alone."""

from pathlib import Path
from typing import Any

from brain_diffuser.generation.backbone import Backbone, LoadedBackbone


def load(folder: str | Path, clip_folder: str | Path, device: Any, dtype: Any) -> LoadedBackbone:
    """Stable Diffusion, whose unconditional pass reads the hidden states of an empty caption.

    Parameters
    ----------
    folder : path
        Its folder in diffusers' layout.
    clip_folder : path
        Not read: the folder holds its own text tower.
    device : torch.device or str
        Where the networks run.
    dtype : torch.dtype
        Of the networks; the hidden states that condition them are float32 whatever it is.

    Raises
    ------
    ValueError
        The UNet reads another text tower.
    FileNotFoundError, ValueError
        What the loaders raise.
    """
    from brain_diffuser.models import clip
    from brain_diffuser.models.diffusion import stable_diffusion

    models = stable_diffusion.load(folder, device, dtype)
    text_tower = clip.HiddenText.load(folder, device=device)
    width = models[0].unet.config["cross_attention_dim"]
    if text_tower.shape[1] != width:
        raise ValueError(
            f"{folder} has a text_encoder of {text_tower.shape[1]} numbers a token, a unet that reads {width}; "
            "expected the same. Are both of one model?"
        )
    return LoadedBackbone(models, (text_tower([""]),))


BACKBONE = Backbone(
    conditions={"text": "sd_text"},
    key="stable_diffusion",
    components=("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    load=load,
)
