"""The inputs of a rehearsal: one session of a subject and all networks, of the published shapes and of random content.

The session shows few stimuli many times, so that few images pass the networks while betas have their published size.
`small` makes networks and volumes that take seconds, to try the rehearsal itself.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import isal.igzip
import nibabel as nib
import numpy as np
import scipy.io
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from transformers.utils import logging as transformers_logging

from brain_diffuser.artifacts.hdf5 import atomic
from brain_diffuser.models.diffusion import descriptions, weights
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig
from demo import dataset, scenes

SHAPES = {"published": (81, 104, 83), "small": (12, 14, 12)}
"""Of the volumes, in voxels; the published one is that of NSD's subject 1."""
N_VOXELS = {"published": 15_724, "small": 300}
"""Of nsdgeneral."""
BRAIN = 0.25
"""Share of the volume that has betas; elsewhere they are 0."""
WEIGHTS_STD = 0.02
TOWERS: dict[str, dict[str, dict[str, Any]]] = {
    "published": {
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        | {"vocab_size": 49_408, "max_position_embeddings": 77, "projection_dim": 768},
        "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        | {"image_size": 224, "patch_size": 14, "projection_dim": 768},
    },
    "small": {
        "text": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"vocab_size": 96, "max_position_embeddings": 9, "projection_dim": 12},
        "vision": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"image_size": 16, "patch_size": 8, "projection_dim": 12},
    },
}
"""Descriptions of CLIP's towers; those of ViT-L/14 are the published ones."""
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
SMALL_AUTOENCODER = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
}
SMALL_VDVAE = VDVAEConfig("4x1,4d4,1x1", "1x1,4m1,4x3", width=16, zdim=4, num_mixtures=3, image_size=4, n_latents=4)


def design(n_train: int, n_test: int, seed: int) -> dict[str, np.ndarray]:
    """The variables of nsd_expdesign.mat as in `dataset.design`; every session shows all stimuli, equally often."""
    variables = dataset.design(250 - n_test, n_test, seed)
    random = scenes.rng(seed, "rehearsal", 0)
    shown = np.r_[1 : n_test + 1, dataset.N_SHARED + 1 : dataset.N_SHARED + n_train + 1]
    n_sessions = dataset.TRIALS // dataset.TRIALS_PER_SESSION
    order = [random.permutation(np.resize(shown, dataset.TRIALS_PER_SESSION)) for _ in range(n_sessions)]
    return variables | {"masterordering": np.concatenate(order)[None].astype(np.float64)}


def write_design(path: str | Path, variables: Mapping[str, np.ndarray]) -> None:
    """Write nsd_expdesign.mat."""
    with atomic(path) as part, open(part, "wb") as file:
        scipy.io.savemat(file, dict(variables))


def volumes(size: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The voxels that have betas, and those of nsdgeneral: a shell at the back of them; both bool (X, Y, Z)."""
    random = scenes.rng(seed, "rehearsal", 1)
    axes = [np.linspace(-1, 1, n) for n in SHAPES[size]]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    radius = np.linalg.norm(grid, axis=0)
    brain = radius < np.quantile(radius, BRAIN)
    score = np.where(brain, radius - 0.5 * grid[1] + random.normal(0, 1e-6, radius.shape), -np.inf)
    return brain, score >= np.sort(score, axis=None)[-N_VOXELS[size]]


def write_rois(paths: Mapping[str, str | Path], size: str, seed: int) -> None:
    """nsdgeneral and the other atlases, whose labels are slabs of it, so that every region has voxels."""
    _, general = volumes(size, seed)
    n_labels = 7  # as many as the atlas with the most has
    slabs = np.zeros(general.shape, np.int16)
    slabs[general] = 1 + np.arange(np.count_nonzero(general)) * n_labels // np.count_nonzero(general)
    for name, path in paths.items():
        labels = np.where(general, 1 if name == "nsdgeneral" else slabs, 0 if name == "nsdgeneral" else -1)
        _write_nifti(path, labels.astype(np.int16))


def write_session(path: str | Path, shown: np.ndarray, size: str, seed: int) -> None:
    """The betas of a session, int16 (X, Y, Z, trials): a response for each stimulus, and noise of the same size."""
    brain, _ = volumes(size, seed)
    random = scenes.rng(seed, "rehearsal", 2)
    n_brain = np.count_nonzero(brain)
    responses = {each: random.normal(0, 300, n_brain) for each in np.unique(shown).tolist()}
    volume = np.zeros((len(shown), *brain.T.shape), np.int16)
    for trial, each in zip(volume, shown.tolist(), strict=True):
        trial[brain.T] = responses[each] + random.normal(0, 300, n_brain)
    _write_nifti(path, volume.T)


def _write_nifti(path: str | Path, volume: np.ndarray) -> None:
    image = nib.Nifti1Image(volume, np.diag([1.8, 1.8, 1.8, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_data_offset(352)
    with atomic(path) as part, open(part, "wb") as raw:
        with isal.igzip.IGzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
            file.write(image.header.binaryblock + bytes(4))
            for trial in np.moveaxis(volume, -1, 0) if volume.ndim == 4 else [volume]:
                file.write(trial.tobytes(order="F"))


def write_vdvae(path: str | Path, size: str, seed: int) -> None:
    """A VDVAE in float32 under its published names; a small one has its description beside it."""
    torch.manual_seed(seed)
    config = VDVAEConfig.imagenet64 if size == "published" else SMALL_VDVAE
    model = VDVAE(config)
    with atomic(path) as part:
        save_file(model.state_dict(), part)
    if size != "published":
        with atomic(Path(path).with_suffix(".json")) as part:
            part.write_text(json.dumps(asdict(config)), encoding="utf-8")


def write_versatile_diffusion(folder: str | Path, size: str, seed: int) -> None:
    """Versatile Diffusion in float16 in diffusers' folders: UNets, autoencoder, CLIP's towers and its tokeniser."""
    folder, generator = Path(folder), torch.Generator().manual_seed(seed)
    unet = descriptions.UNET if size == "published" else SMALL_UNET
    autoencoder = descriptions.PUBLISHED["vae"] if size == "published" else SMALL_AUTOENCODER
    with torch.device("meta"):
        denoiser: nn.Module = DualDenoiser.from_configs(unet, unet)
        vae = AutoencoderKL(**autoencoder)
    weights.save(_filled(denoiser, generator), folder)
    (folder / "vae").mkdir()
    (folder / "vae/config.json").write_text(json.dumps(autoencoder), encoding="utf-8")
    save_file(_filled(vae, generator).state_dict(), folder / f"vae/{descriptions.STEM}.safetensors")
    text = _write_tokeniser(folder / "tokenizer", TOWERS[size]["text"])
    vision = CLIPVisionConfig(**TOWERS[size]["vision"])
    with torch.device("meta"):
        towers = {
            "text_encoder": CLIPTextModelWithProjection(text),
            "image_encoder": CLIPVisionModelWithProjection(vision),
        }
    transformers_logging.disable_progress_bar()  # it would be all that a calm terminal shows of the job
    for name, tower in towers.items():
        _filled(tower, generator).save_pretrained(folder / name)
    (folder / "image_feature_extractor").mkdir()
    side = TOWERS[size]["vision"]["image_size"]
    preprocessing = {
        **{"resample": 3, "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}},
        **{"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]},
    }
    (folder / "image_feature_extractor/preprocessor_config.json").write_text(
        json.dumps(preprocessing), encoding="utf-8"
    )


@torch.no_grad()
def _filled(model: Any, generator: torch.Generator) -> Any:
    """A network that was built without numbers, with random ones in float16."""
    model = model.half().to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * WEIGHTS_STD)
        else:  # the numbers of positions, which no generator makes
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
    return model.requires_grad_(False)


def _write_tokeniser(folder: Path, tower: Mapping[str, Any]) -> CLIPTextConfig:
    """A tokeniser of single letters with as many tokens as the tower knows; returns the tower's description."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    fill = [f"<unused {number}>" for number in range(tower["vocab_size"] - len(tokens))]
    tokens = [*tokens[:-2], *fill, *tokens[-2:]]
    CLIPTokenizer({token: i for i, token in enumerate(tokens)}, []).save_pretrained(folder)
    return CLIPTextConfig(**tower, bos_token_id=len(tokens) - 2, eos_token_id=len(tokens) - 1)
