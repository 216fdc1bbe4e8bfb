"""Small diffusion networks: those behind `data/vd_tiny`, with the original program's outputs, and random ones."""

import functools
import json
from pathlib import Path

import golden_inputs
import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file

from brain_diffuser.models.diffusion import weights
from brain_diffuser.models.diffusion.stable_diffusion import TextDenoiser
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, DualDenoiser

DATA = Path(__file__).parent / "fixtures"
SEED = 11
GOLDEN_UNET = {
    "sample_size": 16,
    "block_out_channels": [32, 64, 128, 128],
    "cross_attention_dim": 48,
    "attention_head_dim": 4,
}
SMALL_UNET = {
    "sample_size": 8,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
}
TEXT_SHAPE, VISION_SHAPE = (5, 10), (7, 12)


@functools.cache
def golden():
    """Facts about the original run, and its arrays as tensors."""
    with np.load(DATA / "vd_tiny.npz") as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays}
    return json.loads((DATA / "vd_tiny.json").read_text()), tensors


def published_scheduler() -> DDIMScheduler:
    """The DDIM of Versatile Diffusion, as diffusers computes it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def golden_noise(name, shape):
    return torch.from_numpy(golden_inputs.normal(SEED, name, shape))


def golden_weights(prefix):
    """By their names in the original program; `dm:` is the UNets, `kl:` the autoencoder."""
    keys = golden()[0]["keys_" + prefix.removesuffix(":")]
    return {name: torch.from_numpy(golden_inputs.generic(SEED, prefix + name, shape)) for name, shape in keys}


@functools.cache
def golden_denoiser():
    denoiser = DualDenoiser.from_configs(GOLDEN_UNET, GOLDEN_UNET)
    tensors = {"model.diffusion_model." + name: tensor for name, tensor in golden_weights("dm:").items()}
    names = weights.original_names(denoiser, "old")
    denoiser.load_state_dict({ours: tensors[name] for name, ours in names.items()})
    return denoiser.eval().requires_grad_(False)


def kl(block_out_channels, **sizes):
    levels = len(block_out_channels)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=block_out_channels,
        latent_channels=4,
        **sizes,
    )


@functools.cache
def golden_autoencoder():
    autoencoder = Autoencoder(kl([32, 64, 128, 128], layers_per_block=2))
    tensors = weights.autoencoder_tensors(golden_weights("kl:"))
    names = weights.autoencoder_names(autoencoder.vae)
    autoencoder.vae.load_state_dict({names[name]: tensor for name, tensor in tensors.items()})
    return autoencoder.eval().requires_grad_(False)


@functools.cache
def small_models(text_dim=TEXT_SHAPE[1]):
    """A denoiser of latents 4 x 8 x 8 and an autoencoder of images of 16 pixels, both random; never written to."""
    torch.manual_seed(0)
    denoiser = DualDenoiser.from_configs(SMALL_UNET, {**SMALL_UNET, "cross_attention_dim": text_dim})
    autoencoder = Autoencoder(kl([8, 16], norm_num_groups=4, scaling_factor=0.5))
    return denoiser.eval().requires_grad_(False), autoencoder.eval().requires_grad_(False)


@functools.cache
def small_stable(text_dim=TEXT_SHAPE[1]):
    """A denoiser that reads text alone, with the autoencoder of the small models; never written to."""
    torch.manual_seed(1)
    denoiser = TextDenoiser(UNet2DConditionModel(**SMALL_UNET | {"cross_attention_dim": text_dim}))
    return denoiser.eval().requires_grad_(False), small_models()[1]


def save_small(folder, **sizes):
    """The small models as published ones are laid out."""
    denoiser, autoencoder = small_models(**sizes)
    weights.save(denoiser, folder)
    save_part(folder / "vae", autoencoder.vae)
    return folder


def save_small_stable(folder, **sizes):
    """The same of Stable Diffusion, but for its text tower."""
    denoiser, autoencoder = small_stable(**sizes)
    save_part(folder / "unet", denoiser.unet)
    save_part(folder / "vae", autoencoder.vae)
    published_scheduler().save_pretrained(folder / "scheduler")
    return folder


def save_part(folder, model):
    folder.mkdir()
    (folder / "config.json").write_text(model.to_json_string())
    save_file(model.state_dict(), folder / "diffusion_pytorch_model.safetensors")


def contexts(n, seed=0):
    """Text and vision embeddings of n images, as predicted ones come."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n, *shape), np.float32) for shape in (TEXT_SHAPE, VISION_SHAPE))
