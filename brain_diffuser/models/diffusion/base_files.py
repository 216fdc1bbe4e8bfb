"""Stable Diffusion 1 and XL, the base models of adapters: folders in diffusers' layout, or with a single checkpoint.

A folder with `unet/` and `vae/` has them as diffusers writes them. A folder without, and with one `.safetensors`, has
both in that file, as the authors and most fine-tunes publish them. The text towers and tokenisers are folders in either
case, for a checkpoint has no tokeniser.
"""

import re
from pathlib import Path
from typing import Any

from brain_diffuser.models import checkpoints, model_files
from brain_diffuser.models.diffusion import descriptions, weights
from brain_diffuser.models.diffusion.stable_diffusion import TextDenoiser

NAMES = {False: "Stable Diffusion 1", True: "Stable Diffusion XL"}
"""By whether it is XL."""
XL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
XL_VAE = descriptions.PUBLISHED["vae"] | {"sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True}
PUBLISHED: dict[bool, dict[str, dict[str, Any]]] = {
    False: {"unet": descriptions.UNET, "vae": descriptions.PUBLISHED["vae"] | {"force_upcast": False}},
    True: {"unet": XL_UNET, "vae": XL_VAE},
}
"""Descriptions of single checkpoints, which have none; of a network of other sizes `<stem>.json` beside it has both."""
UNET_PREFIX, VAE_PREFIX = "model.diffusion_model.", "first_stage_model."


def checkpoint_file(base: Path) -> Path | None:
    """The single checkpoint of a folder; None if it has the UNet's folder.

    Raises ValueError: it has several checkpoints.
    """
    name = model_files.single_checkpoint(base)
    return base / name if name else None


def description_file(base: Path, component: str) -> Path:
    """Where the description of a component is."""
    file = checkpoint_file(base)
    return file.with_suffix(".json") if file else base / component / "config.json"


def describe(base: Path, *, is_xl: bool) -> dict[str, dict[str, Any]]:
    """Descriptions of the UNet and the autoencoder of a base model.

    Raises FileNotFoundError: a description is missing. ValueError: it is of the other base model, has another noise
    schedule than `ddim` computes with, or reads more than latents.
    """
    file = checkpoint_file(base)
    if file is None:
        described = {name: checkpoints.read_config(base / name) for name in ("unet", "vae")}
        _check_schedule(base, is_xl)
    elif description_file(base, "unet").is_file():
        described = checkpoints.read_config(base, description_file(base, "unet").name)
    else:
        described = PUBLISHED[is_xl]
    path, unet, vae = description_file(base, "unet"), described["unet"], described["vae"]
    if (unet.get("addition_embed_type") == "text_time") != is_xl:
        raise ValueError(
            f"{path} describes {NAMES[not is_xl]}, or a model like it; expected {NAMES[is_xl]}, so name its folder or "
            "choose a backbone of the other"
        )
    descriptions.check_sample_size(path, unet, NAMES[is_xl])
    channels = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if channels[0] != channels[1]:
        raise ValueError(
            f"{path} has in_channels {channels[0]}, the autoencoder beside it latent_channels {channels[1]}; expected "
            f"the same. Is it a model for inpainting or depth? Name a folder of {NAMES[is_xl]}."
        )
    return described


def _check_schedule(base: Path, is_xl: bool) -> None:
    """Raises ValueError: the model was trained with another noise schedule, or does not predict noise."""
    path = base / "scheduler" / "scheduler_config.json"
    schedule = {"prediction_type": "epsilon"} | checkpoints.read_config(path.parent, path.name)
    for key, expected in descriptions.SCHEDULE.items():
        if schedule.get(key) != expected:
            raise ValueError(
                f"{path} has {key} {schedule.get(key)}; expected {expected}, as in {NAMES[is_xl]}. Name a folder of "
                "that."
            )


def fill(
    denoiser: TextDenoiser,
    vae: Any,
    base: Path,
    device: Any,
    dtype: Any,
    vae_dtype: Any,
) -> None:
    """Fill the UNet of a denoiser and an autoencoder, which were built on the meta device, from a base model.

    Parameters
    ----------
    denoiser : TextDenoiser
        Its UNet is filled, what an adapter adds to it is not.
    vae : AutoencoderKL
        The autoencoder.
    base : path
        The base model.
    device : torch.device or str
        Where the networks will run.
    dtype, vae_dtype : torch.dtype
        Precision of the UNet and of the autoencoder.

    Raises
    ------
    FileNotFoundError, ValueError
        A file is missing, or has tensors of another model.
    """
    in_unet = [name for name in denoiser.state_dict() if name.startswith("unet.") and ".processor." not in name]
    path = checkpoint_file(base)
    if path is None:
        path = checkpoints.find_tensors(base / "unet", descriptions.STEM)
        names = {name.removeprefix("unet."): name for name in in_unet}
        checkpoints.fill(denoiser, checkpoints.read_tensors(path), path, names=names, device=device, dtype=dtype)
        weights.fill_autoencoder(vae, base / "vae", device=device, dtype=vae_dtype)
        return
    described_by = f"{path.with_suffix('.json').name} (the published one if there is none)"
    for model, prefix, names, of_dtype in (
        (denoiser, UNET_PREFIX, checkpoint_names(denoiser), dtype),
        (vae, VAE_PREFIX, weights.autoencoder_names(vae), vae_dtype),
    ):
        tensors = checkpoints.read_tensors(path, lambda name, prefix=prefix: name.startswith(prefix))
        if not tensors:
            raise ValueError(
                f"{path} has no tensor whose name begins with {prefix}; is it a checkpoint of both networks?"
            )
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        if model is vae:
            inside = weights.autoencoder_tensors(inside)
        checkpoints.fill(model, inside, path, described_by, names=names, device=device, dtype=of_dtype)


def checkpoint_names(denoiser: TextDenoiser) -> dict[str, str]:
    """{a tensor's name in a single checkpoint, without prefix: its name in the denoiser}.

    Source: the layout of the authors' programs, of which `weights` knows that of Versatile Diffusion.
    """
    modules = {f"time_embedding.linear_{part}": f"time_embed.{place}" for part, place in ((1, 0), (2, 2))}
    modules |= {f"add_embedding.linear_{part}": f"label_emb.0.{place}" for part, place in ((1, 0), (2, 2))}
    for old, parts in weights._layers(denoiser.unet):
        modules |= {part: old + place for part, place in parts.items()}
    longest_first = sorted(modules, key=len, reverse=True)
    pattern = re.compile(rf"^({'|'.join(map(re.escape, longest_first))})(?=\.|$)")
    in_unet = [name for name in denoiser.state_dict() if name.startswith("unet.") and ".processor." not in name]
    return {pattern.sub(lambda part: modules[part[1]], name.removeprefix("unet.")): name for name in in_unet}
