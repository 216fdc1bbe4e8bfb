"""Stable Diffusion 1's text-conditioned denoiser, from the folder of models that it is published as."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor

from brain_diffuser.models import checkpoints, layout, torch_builds
from brain_diffuser.models.diffusion import descriptions, weights
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, Denoiser, Projected, cast_context

with torch_builds.importing("diffusers"):
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class TextDenoiser(Denoiser):
    """A UNet whose attention reads text alone.

    Source: Rombach et al. 2022, arXiv 2112.10752.
    """

    branches = ("",)

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        self.unet = unet
        self.keep_contexts()

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Real[Tensor, "..."] | int,
        text: Float[Tensor, "batch text_tokens text_dim"] | Projected,
        text_weight: float = 1.0,
    ) -> Float[Tensor, "batch channels height width"]:
        """The noise in x at timestep t, float32 whatever the weights are.

        Parameters
        ----------
        x : float (batch, channels, height, width)
            Noisy latents.
        t : int or tensor
            Timestep, of all images or of each.
        text : float (batch, tokens, dim), or Projected
            Hidden states of the text tower, or what `project` makes of them.
        text_weight : float
            1, because text alone is read; the argument is there for the signature of `DualDenoiser`.

        Raises
        ------
        ValueError
            text_weight is not 1, or the noise is not finite.
        """
        if text_weight != 1:
            raise ValueError(f"text_weight must be 1 where text alone is read, got {text_weight}")
        dtype = self.unet.conv_in.weight.dtype
        given = x.to(dtype), torch.as_tensor(t, device=x.device), cast_context(text, dtype)
        noise = self.unet(*given, return_dict=False)[0].float()
        self.check(noise, t)
        return noise


def load(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[TextDenoiser, Autoencoder]:
    """The denoiser and the autoencoder of a folder in diffusers' layout, from `unet/` and `vae/`.

    `scheduler/` has to describe the noise schedule that `ddim` computes with. Networks are built without weights and
    filled from mapped files, so memory holds one copy in `dtype`.

    Raises FileNotFoundError: a file is missing. ValueError: tensors of another model; a model that does not predict
    noise, or has other latents than the autoencoder.
    """
    folder = Path(folder)
    described = {name: checkpoints.read_config(folder / name) for name in ("unet", "vae")}
    _check(folder, described["unet"], described["vae"])
    with torch.device("meta"):
        unet, vae = (folder / name / "config.json" for name in ("unet", "vae"))
        denoiser = TextDenoiser(checkpoints.build(UNet2DConditionModel, described["unet"], unet))
        autoencoder = Autoencoder(checkpoints.build(AutoencoderKL, described["vae"], vae))
    path = checkpoints.find_tensors(folder / "unet", descriptions.STEM)
    checkpoints.fill(denoiser.unet, checkpoints.read_tensors(path), path, device=device, dtype=dtype)
    weights.fill_autoencoder(autoencoder.vae, folder / "vae", device=device, dtype=dtype)
    for model in (denoiser, autoencoder):
        layout.arrange(model, device, dtype)
    return denoiser.eval().requires_grad_(False), autoencoder.eval().requires_grad_(False)


def _check(folder: Path, unet: dict[str, Any], vae: dict[str, Any]) -> None:
    """Raises ValueError: the model of the folder does not fit this sampler or its autoencoder."""
    path = folder / "scheduler" / "scheduler_config.json"
    schedule = {"prediction_type": "epsilon"} | checkpoints.read_config(path.parent, path.name)
    for key, expected in descriptions.SCHEDULE.items():
        if schedule.get(key) != expected:
            raise ValueError(
                f"{path} has {key} {schedule.get(key)}; expected {expected}, as in Stable Diffusion 1. Name a folder "
                "of that (docs/neuraldiffuser.md)."
            )
    path = folder / "unet" / "config.json"
    descriptions.check_sample_size(path, unet, "Stable Diffusion 1")
    channels = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if channels[0] != channels[1]:
        raise ValueError(
            f"{path} has in_channels {channels[0]}, the autoencoder beside it latent_channels {channels[1]}; expected "
            "the same. Is it a model for inpainting or depth? Name a folder of Stable Diffusion 1."
        )
