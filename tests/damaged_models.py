"""The files of models, each with what reads it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import numpy as np
import tiny_diffusion
import torch
import toy_workflow
from diffusers import UNet2DConditionModel
from reliability import Reader, alike
from safetensors.torch import load_file, save_file
from torch import nn

from brain_diffuser.models import clip
from brain_diffuser.models.diffusion import descriptions, stable_diffusion, weights
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser
from brain_diffuser.models.vdvae import weights as vdvae_weights
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig

DESCRIPTION = (*damage.JSON, *damage.TEXT, *damage.BYTES)
SMALL_VDVAE = VDVAEConfig("4x1,4d4,1x1", "1x1,4m1,4x1", width=16, zdim=4, num_mixtures=3, image_size=4, n_latents=2)
ONE_LEVEL = tiny_diffusion.SMALL_UNET | {
    **{"down_block_types": ["CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D"]},
    **{"block_out_channels": [8], "norm_num_groups": 4},
}
CAPTIONS = ["a cat on 3 mats", "dogs, 12 of them"]


def tensors(model: nn.Module) -> dict[str, Any]:
    """All numbers of a model, and how its layers are set."""
    settings = [(name, module.extra_repr()) for name, module in model.named_modules()]
    return {"tensors": dict(model.state_dict()), "layers": settings}


def save_one_level(folder: Path) -> None:
    """A Versatile Diffusion of one level, which is built four times as fast as that of other tests."""
    torch.manual_seed(0)
    weights.save(DualDenoiser.from_configs(ONE_LEVEL, {**ONE_LEVEL, "cross_attention_dim": 10}), folder)
    tiny_diffusion.save_part(folder / "vae", tiny_diffusion.kl([4], norm_num_groups=4, layers_per_block=1))


def save_one_level_stable(folder: Path) -> None:
    """A Stable Diffusion of one level, but for its text tower."""
    torch.manual_seed(0)
    tiny_diffusion.save_part(folder / "unet", UNet2DConditionModel(**ONE_LEVEL))
    tiny_diffusion.save_part(folder / "vae", tiny_diffusion.kl([4], norm_num_groups=4, layers_per_block=1))
    tiny_diffusion.published_scheduler().save_pretrained(folder / "scheduler")


def clip_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        torch.manual_seed(0)
        toy_workflow.write_versatile_diffusion(folder / "models")
        return folder / "models" / name

    return write


def models_of(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "models")


def read_clip_text(path: Path) -> Any:
    tower = clip.ClipText.load(models_of(path))
    return tensors(tower.model), tower.shape, tower.tokenise(CAPTIONS)


def read_clip_vision(path: Path) -> Any:
    tower = clip.ClipVision.load(models_of(path))
    images = np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3), np.uint8)
    return tensors(tower.model), tower.shape, tower.preprocess(images)


def diffusion_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "models").mkdir()
        save_one_level(folder / "models")
        return folder / "models" / name

    return write


def read_diffusion(path: Path) -> Any:
    denoiser, autoencoder = weights.load(models_of(path))
    return tensors(denoiser), tensors(autoencoder), descriptions.image_size(models_of(path))


def stable_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "models").mkdir()
        save_one_level_stable(folder / "models")
        return folder / "models" / name

    return write


def read_stable(path: Path) -> Any:
    denoiser, autoencoder = stable_diffusion.load(models_of(path))
    return tensors(denoiser), tensors(autoencoder)


def write_vdvae(name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model = VDVAE(SMALL_VDVAE)
        (folder / "vdvae.json").write_text(json.dumps(dataclasses.asdict(SMALL_VDVAE)))
        if name.endswith(".th"):
            torch.save({f"module.{key}": value for key, value in model.state_dict().items()}, folder / name, **options)
        else:
            save_file(model.state_dict(), folder / "vdvae.safetensors")
        return folder / name

    return write


def read_vdvae(path: Path) -> Any:
    (file,) = (each for each in path.parent.iterdir() if each.suffix in (".th", ".safetensors"))
    model = vdvae_weights.load(file)
    return tensors(model), vars(model.config)


def write_original(folder: Path) -> None:
    """The same as one of the authors' files, with its autoencoder and a description."""
    denoiser, autoencoder = weights.load(folder)
    names = weights.original_names(denoiser, "old"), weights.autoencoder_names(autoencoder.vae)
    for file, model, of_model in (("vd.pth", denoiser, names[0]), ("kl-f8.pth", autoencoder.vae, names[1])):
        state = model.state_dict()
        torch.save({in_file: state[name].clone() for in_file, name in of_model.items()}, folder / file)
    described = {part: json.loads((folder / part / "config.json").read_text()) for part in descriptions.PUBLISHED}
    (folder / "vd.json").write_text(json.dumps(described))


def original_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "models").mkdir()
        save_one_level(folder / "models")
        write_original(folder / "models")
        return folder / "models" / name

    return write


def read_original(path: Path) -> Any:
    denoiser, autoencoder = weights.load(path.with_name("vd.pth"))
    return tensors(denoiser), tensors(autoencoder)


def write_clip_bin(folder: Path) -> Path:
    """A tower in torch's format, as old versions of transformers wrote it."""
    path = clip_file("image_encoder/model.safetensors")(folder)
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()
    return path.with_name("pytorch_model.bin")


READERS = (
    Reader(
        "CLIP, text tower",
        ".safetensors",
        clip_file("text_encoder/model.safetensors"),
        read_clip_text,
        damage.BYTES,
        alike,
    ),
    Reader(
        "CLIP, text tower's description",
        ".json",
        clip_file("text_encoder/config.json"),
        read_clip_text,
        DESCRIPTION,
        alike,
    ),
    Reader("CLIP, tokeniser", ".json", clip_file("tokenizer/tokenizer.json"), read_clip_text, DESCRIPTION, alike),
    Reader(
        "CLIP, tokeniser's description",
        ".json",
        clip_file("tokenizer/tokenizer_config.json"),
        read_clip_text,
        DESCRIPTION,
        alike,
    ),
    Reader("CLIP, image tower", ".bin", write_clip_bin, read_clip_vision, damage.BYTES, has_checksum=True),
    Reader(
        "CLIP, image tower's description",
        ".json",
        clip_file("image_encoder/config.json"),
        read_clip_vision,
        DESCRIPTION,
        alike,
    ),
    Reader(
        "CLIP, preprocessing",
        ".json",
        clip_file("image_feature_extractor/preprocessor_config.json"),
        read_clip_vision,
        DESCRIPTION,
        alike,
    ),
    Reader(
        "Versatile Diffusion, image UNet's description",
        ".json",
        diffusion_file("image_unet/config.json"),
        read_diffusion,
        DESCRIPTION,
        alike,
    ),
    Reader(
        "Versatile Diffusion, autoencoder's description",
        ".json",
        diffusion_file("vae/config.json"),
        read_diffusion,
        DESCRIPTION,
        alike,
    ),
    Reader(
        "Versatile Diffusion, original", ".pth", original_file("vd.pth"), read_original, damage.BYTES, has_checksum=True
    ),
    Reader(
        "Versatile Diffusion, original's description",
        ".json",
        original_file("vd.json"),
        read_original,
        DESCRIPTION,
        alike,
    ),
    Reader(
        "Stable Diffusion, schedule",
        ".json",
        stable_file("scheduler/scheduler_config.json"),
        read_stable,
        DESCRIPTION,
        alike,
    ),
    Reader("VDVAE", ".safetensors", write_vdvae("vdvae.safetensors"), read_vdvae, damage.BYTES, alike),
    Reader("VDVAE", ".th", write_vdvae("vdvae.th"), read_vdvae, damage.BYTES, has_checksum=True),
    Reader(
        "VDVAE, of torch before 1.6",
        ".th",
        write_vdvae("vdvae.th", _use_new_zipfile_serialization=False),
        read_vdvae,
        damage.BYTES,
        alike,
    ),
    Reader("VDVAE, description", ".json", write_vdvae("vdvae.json"), read_vdvae, DESCRIPTION, alike),
)
