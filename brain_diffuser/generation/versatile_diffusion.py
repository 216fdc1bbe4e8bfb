"""Versatile Diffusion as a backbone: conditioned by CLIP's text and vision embeddings, as in Brain-Diffuser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.generation.backbone import Backbone, LoadedBackbone
from brain_diffuser.models import model_files


def files(paths: Mapping[str, str]) -> list[str]:
    """The UNets and the autoencoder."""
    return model_files.diffusion(paths["versatile_diffusion"])


def load(folder: str | Path, clip_folder: str | Path, device: Any, dtype: Any) -> LoadedBackbone:
    """Versatile Diffusion, whose unconditional pass reads the embeddings of an empty caption and of a grey image.

    Parameters
    ----------
    folder : path
        Its weights, in any of their published forms.
    clip_folder : path
        CLIP's towers.
    device : torch.device or str
        Where the networks run.
    dtype : torch.dtype
        Of the networks; the embeddings that condition them are float32 whatever it is.

    Raises
    ------
    FileNotFoundError, ValueError
        What the loaders raise.
    """
    from brain_diffuser.generation import img2img
    from brain_diffuser.models import clip
    from brain_diffuser.models.diffusion import weights

    models = weights.load(folder, device, dtype)
    text_tower = clip.ClipText.load(clip_folder, device=device)
    vision_tower = clip.ClipVision.load(clip_folder, device=device)
    return LoadedBackbone(models, clip.unconditional(text_tower, vision_tower, img2img.image_size(*models)))


BACKBONE = Backbone(
    conditions={"text": "clip_text", "vision": "clip_vision"},
    key="versatile_diffusion",
    components=("image_unet", "text_unet", "vae"),
    load=load,
    files=files,
)
