"""Train the demo's autoencoder (diffusers' AutoencoderKL): 64 px images, 16x16x4 latents.

python -m demo.training.autoencoder --steps 6000 --start demo/models/versatile-diffusion
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from demo.training import corpus
from demo.training.loop import fit, precision

MODELS = Path("demo/models/versatile-diffusion")


def build() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 48, 96),
        layers_per_block=1,
        norm_num_groups=16,
        latent_channels=4,
        sample_size=corpus.SIZE,
        mid_block_add_attention=True,
    )


def to_input(images: np.ndarray) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> float (batch, 3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def main(
    steps: int, batch_size: int, lr: float, folder: Path, models: Path, start: Path | None, bfloat16: bool
) -> None:
    images, _, _ = corpus.read("familiar", folder)
    torch.manual_seed(0)
    model = (
        AutoencoderKL.from_pretrained(start / "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False)
        if start
        else build()
    )
    model = model.train().to(memory_format=torch.channels_last)

    def loss(model, rows, generator):
        x = to_input(images[rows])
        with precision(bfloat16):
            posterior = model.encode(x).latent_dist
            z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
            y = model.decode(z).sample.float()
        pixel = F.l1_loss(y, x) + F.mse_loss(y, x)
        edges = sum(F.l1_loss(torch.diff(y, dim=d), torch.diff(x, dim=d)) for d in (2, 3))
        kl = posterior.kl().float().mean() / x[0].numel()
        return pixel + edges + 1e-4 * kl, {"mse": F.mse_loss(y, x).item(), "kl": kl.item()}

    model = fit(
        model,
        loss,
        name="autoencoder",
        folder=folder,
        n_rows=len(images),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        averaging=0.998,
    )
    held_out, _, _ = corpus.read("held-out", folder)
    with torch.inference_mode():
        x = to_input(held_out)
        z = torch.cat([model.encode(b).latent_dist.mean for b in x.split(50)])
        y = torch.cat([model.decode(b).sample for b in z.split(50)]).clamp(-1, 1)
    psnr = float((10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean())
    model.register_to_config(scaling_factor=round(float(1 / z.std()), 5))
    model.half().save_pretrained(models / "vae")
    logging.info(json.dumps({"held_out_psnr_db": round(psnr, 2), "scaling_factor": model.config.scaling_factor}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--folder", type=Path, default=corpus.FOLDER, help="of scenes and checkpoints")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder to write into")
    parser.add_argument("--start", type=Path, help="folder of models to start from")
    parser.add_argument("--bfloat16", action="store_true", help="pays on processors with AMX")
    main(**vars(parser.parse_args()))
