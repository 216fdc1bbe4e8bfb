"""Train the demo's autoencoder (diffusers' AutoencoderKL): 64 px images, 16x16x8 latents.

    python -m demo.training.autoencoder --steps 6000
    python -m demo.training.autoencoder --steps 3000 --go-on    start from the weights that are there

Eight channels, where the published autoencoder has four at an eighth of the resolution: the best four numbers for 4 x 4
pixels lose the colours of objects (25.2 dB by principal components, and 29.4 dB with eight).
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

OUT = Path("demo/models/versatile-diffusion/vae")
CHANNELS = 8


def build() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 48, 96),
        layers_per_block=1,
        norm_num_groups=16,
        latent_channels=CHANNELS,
        sample_size=corpus.SIZE,
        mid_block_add_attention=True,
    )


def read(folder: Path) -> AutoencoderKL:
    """The autoencoder in a folder, float32."""
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False)


def begin(model: AutoencoderKL, earlier: AutoencoderKL) -> None:
    """Fill a model with the weights of one with as many latent channels, or fewer; further channels are hardly read."""
    theirs, channels = earlier.state_dict(), earlier.config.latent_channels
    old = torch.cat([torch.arange(channels), CHANNELS + torch.arange(channels)])  # of means and log variances
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in ("encoder.conv_out.weight", "encoder.conv_out.bias"):
                tensor[old] = theirs[name]
            elif name == "quant_conv.weight":
                tensor[old] = 0.0
                tensor[old[:, None], old] = theirs[name]
            elif name == "quant_conv.bias":
                tensor[old] = theirs[name]
            elif name == "post_quant_conv.weight":
                tensor[:channels, :channels] = theirs[name]
            elif name == "post_quant_conv.bias":
                tensor[:channels] = theirs[name]
            elif name == "decoder.conv_in.weight":
                tensor.mul_(0.1)[:, :channels] = theirs[name]
            else:
                tensor.copy_(theirs[name])


def to_input(images: np.ndarray) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> float (batch, 3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def turn(model: AutoencoderKL, latents: torch.Tensor) -> None:
    """Make the latents' channels uncorrelated, without a change of what images become.

    The principal components keep the square root of their spread: those that matter most to an image are the last that
    noise hides, and none is so weak that the UNet need not learn it. Encoder and decoder end and begin with a
    convolution of one pixel, which takes this up exactly, but for the posterior's spread, which nothing reads.
    """
    columns = latents.permute(1, 0, 2, 3).flatten(1)
    mean = columns.mean(1, keepdim=True)
    variance, axes = torch.linalg.eigh((columns - mean) @ (columns - mean).T / columns.shape[1])
    to_new = axes.T / variance.clamp(min=1e-8).pow(0.25)[:, None]  # (new channels, channels)
    to_old = axes * variance.clamp(min=1e-8).pow(0.25)
    quant, post = model.quant_conv, model.post_quant_conv
    weight, bias = quant.weight.data[:CHANNELS, :, 0, 0], quant.bias.data[:CHANNELS]
    quant.weight.data[:CHANNELS, :, 0, 0], quant.bias.data[:CHANNELS] = to_new @ weight, to_new @ (bias - mean[:, 0])
    weight = post.weight.data[:, :, 0, 0]
    post.bias.data += weight @ mean[:, 0]
    post.weight.data[:, :, 0, 0] = weight @ to_old


def main(steps: int, batch_size: int, lr: float, go_on: bool) -> None:
    images = np.concatenate([corpus.read(stream)[0] for stream in ("training", "shown")])
    torch.manual_seed(0)
    model = build()
    if go_on:
        begin(model, read(OUT))
    model = model.train()

    def loss(model, rows, generator):
        x = to_input(images[rows])
        with precision():
            posterior = model.encode(x).latent_dist
            z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator)
            y = model.decode(z).sample.float()
        pixel = F.l1_loss(y, x) + F.mse_loss(y, x)
        edges = sum(F.l1_loss(torch.diff(y, dim=d), torch.diff(x, dim=d)) for d in (2, 3))
        colour = F.l1_loss(F.avg_pool2d(y, 4), F.avg_pool2d(x, 4))
        kl = posterior.kl().float().mean() / x[0].numel()
        return pixel + edges + 2 * colour + 1e-3 * kl, {"mse": F.mse_loss(y, x).item(), "kl": kl.item()}

    model = fit(
        model,
        loss,
        name="autoencoder",
        folder=corpus.FOLDER,
        n_rows=len(images),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        averaging=0.998,
        orthogonal=True,
    )
    held_out, _, _ = corpus.read("held-out")
    with torch.inference_mode():
        x = to_input(held_out)
        turn(model, torch.cat([model.encode(b).latent_dist.mean for b in x.split(50)]))
        z = torch.cat([model.encode(b).latent_dist.mean for b in x.split(50)])
        y = torch.cat([model.decode(b).sample for b in z.split(50)]).clamp(-1, 1)
    psnr = float((10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean())
    model.register_to_config(scaling_factor=round(float(1 / z.std()), 5))
    model.half().save_pretrained(OUT)
    logging.info(json.dumps({"held_out_psnr_db": round(psnr, 2), "scaling_factor": model.config.scaling_factor}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--go-on", action="store_true", help="start from the weights that are there")
    main(**vars(parser.parse_args()))
