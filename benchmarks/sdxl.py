"""One image of Stable Diffusion XL with an IP-Adapter, at the published sizes, from random weights.

    python -m benchmarks.sdxl --steps 1 --dtype float32 --threads 1

Nothing is fetched. Stage-1 image, text and image embedding are random; the image is 1024 pixels, and has all steps of
classifier-free guidance that are asked for. Prints the CPU-seconds of encoding, a step and decoding, and the memory at
the peak.
"""

import argparse
import json
import resource
import sys
import time
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection

from brain_diffuser.generation import img2img
from brain_diffuser.models import checkpoints, layout, progress
from brain_diffuser.models.diffusion import base_files
from brain_diffuser.models.diffusion.ip_adapter import AdaptedDenoiser
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder

BLOCK = 2**20  # random numbers that all weights repeat
SPREAD = 0.02


def networks(dtype: torch.dtype) -> tuple[AdaptedDenoiser, Autoencoder]:
    """The UNet with an adapter and the autoencoder, built as the loader does and filled with random numbers."""
    described = base_files.PUBLISHED[True]
    with torch.device("meta"):
        unet = checkpoints.build(UNet2DConditionModel, described["unet"])
        denoiser = AdaptedDenoiser(unet, ImageProjection(1024, 2048, 4), 1024)
        autoencoder = Autoencoder(checkpoints.build(AutoencoderKL, described["vae"]))
    block = (SPREAD * torch.randn(BLOCK, generator=torch.Generator().manual_seed(0))).to(dtype)
    for model in (denoiser, autoencoder):
        state: dict[str, Any] = {}
        for name, tensor in model.state_dict().items():
            filled = torch.empty(tensor.shape, dtype=dtype)
            flat = filled.view(-1)
            for start in range(0, len(flat), BLOCK):
                flat[start : start + BLOCK] = block[: len(flat) - start]
            state[name] = filled + 1 if name.endswith("norm.weight") else filled
        model.load_state_dict(state, assign=True)
        layout.arrange(model.eval().requires_grad_(False), "cpu", dtype)
    return denoiser, autoencoder


def main(steps: int, dtype: str, threads: int) -> None:
    torch.set_num_threads(threads)
    models = networks(getattr(torch, dtype))
    parameters = sum(each.numel() for model in models for each in model.parameters())
    random = np.random.default_rng(0)
    text, vision = (random.standard_normal((1, *shape), np.float32) for shape in ((78, 2048), (1, 1024)))
    stage1 = random.integers(256, size=(1, 64, 64, 3), dtype=np.uint8)
    begun, filled = [time.process_time()], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    progress.listeners.append(lambda *_: begun.append(time.process_time()))
    decode = models[1].decode

    def timed(latents: torch.Tensor) -> torch.Tensor:
        begun.append(time.process_time())
        return decode(latents)

    models[1].decode = timed
    settings = {"seed": 0, "steps": 2 * steps, "strength": 0.5, "guidance_scale": 7.5, "text_weight": 0.4}
    (_, image), *others = img2img.reconstruct(
        stage1,
        text,
        vision,
        (torch.zeros(1, 78, 2048), torch.zeros(1, 1, 1024)),
        models,
        nsd_id=np.zeros(1, np.int32),
        noise_at="paper",
        **settings,
    )
    begun.append(time.process_time())
    assert image.shape == (1024, 1024, 3), image.shape
    assert not others
    taken = np.diff(begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(
        json.dumps(
            {
                "parameters": parameters,
                "dtype": dtype,
                "encoding, CPU-s": round(taken[0], 1),
                "a step, CPU-s": round(float(taken[1:-1].mean()), 1),
                "decoding, CPU-s": round(taken[-1], 1),
                "networks, GiB": round(filled, 2),
                "at the peak, GiB": round(peak, 2),
                "levels": [int(image.min()), int(image.max())],
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    main(**vars(parser.parse_args()))
