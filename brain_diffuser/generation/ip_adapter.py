"""Stable Diffusion 1 and XL with an IP-Adapter as backbones: conditioned by text, and through the adapter by vision."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from brain_diffuser.generation.backbone import Backbone, LoadedBackbone
from brain_diffuser.models import model_files

COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
XL_COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")


def files(paths: Mapping[str, str], *, is_xl: bool, is_plus: bool) -> list[str]:
    """The base model's parts and the adapter."""
    base = Path(paths["sdxl" if is_xl else "stable_diffusion"])
    components = XL_COMPONENTS if is_xl else COMPONENTS
    checkpoint = model_files.single_checkpoint(base)
    parts = [part for part in components if not checkpoint or part.startswith(("text", "tokenizer"))]
    index = ["model_index.json"] if is_xl and (base / "model_index.json").is_file() else []
    alone = [checkpoint] if checkpoint else []
    described = [path for path in alone for path in model_files.description(base / path)]
    adapter = model_files.adapter(paths["ip_adapter"], is_xl=is_xl, is_plus=is_plus)
    return [*(str(base / part) for part in (*parts, *alone, *index)), *described, str(adapter)]


def load(
    folder: str | Path, clip_folder: str | Path, device: Any, dtype: Any, *, is_xl: bool, is_plus: bool
) -> LoadedBackbone:
    """A base model with an adapter, and the published embeddings of the unconditional pass.

    These are the text of an empty caption (of XL what its `model_index.json` says, zeros as a rule), and of the image
    zeros (base) or the tokens of pixels that are all 0 (plus).

    Parameters
    ----------
    folder : path
        The base model.
    clip_folder : path
        The folder of the adapters, with their image encoder.
    device : torch.device or str
        Where the networks run.
    dtype : torch.dtype
        Of the networks; the embeddings that condition them are float32 whatever it is.
    is_xl, is_plus : bool
        Which base model, and which kind of adapter.

    Raises
    ------
    FileNotFoundError, ValueError
        What the loaders raise; an image encoder or a text tower of another size than the networks read.
    """
    import torch

    from brain_diffuser.models import adapter_vision, clip, sdxl_text
    from brain_diffuser.models.diffusion import adapter_files

    adapter = model_files.adapter(clip_folder, is_xl=is_xl, is_plus=is_plus)
    models = adapter_files.load(folder, adapter, is_plus=is_plus, is_xl=is_xl, device=device, dtype=dtype)
    denoiser = models[0]
    if is_plus:
        image = adapter_vision.AdapterVision.load(clip_folder, device=device).unconditional_tokens()
    else:
        image = torch.zeros(1, 1, denoiser.image_dim, device=device)
    if image.shape[2] != denoiser.image_dim:
        raise ValueError(
            f"{adapter} reads {denoiser.image_dim} numbers of a token, the image encoder of {clip_folder} gives "
            f"{image.shape[2]}; expected the same. Is the adapter for another encoder (these are for ViT-H/14)?"
        )
    text = sdxl_text.unconditional(folder, device) if is_xl else clip.HiddenText.load(folder, device=device)([""])
    width = denoiser.unet.config["cross_attention_dim"]
    if text.shape[2] != width:
        raise ValueError(
            f"{folder} has text towers of {text.shape[2]} numbers a token, a unet that reads {width}; expected "
            "the same. Are all of one model?"
        )
    denoiser.keep_unconditional(text)
    return LoadedBackbone(models, (text, image))


SD15 = Backbone(
    conditions={"text": "sd_text", "vision": "clip_h_pooled"},
    key="stable_diffusion",
    components=COMPONENTS,
    load=partial(load, is_xl=False, is_plus=False),
    files=partial(files, is_xl=False, is_plus=False),
)
PLUS_SD15 = Backbone(
    conditions={"text": "sd_text", "vision": "clip_h_tokens"},
    key="stable_diffusion",
    components=COMPONENTS,
    load=partial(load, is_xl=False, is_plus=True),
    files=partial(files, is_xl=False, is_plus=True),
)
SDXL = Backbone(
    conditions={"text": "sdxl_prompt", "vision": "clip_h_pooled"},
    key="sdxl",
    components=XL_COMPONENTS,
    load=partial(load, is_xl=True, is_plus=False),
    files=partial(files, is_xl=True, is_plus=False),
)
PLUS_SDXL = Backbone(
    conditions={"text": "sdxl_prompt", "vision": "clip_h_tokens"},
    key="sdxl",
    components=XL_COMPONENTS,
    load=partial(load, is_xl=True, is_plus=True),
    files=partial(files, is_xl=True, is_plus=True),
)
