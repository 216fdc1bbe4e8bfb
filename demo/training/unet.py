"""Train the demo's dual-context UNet on latents of the scenes, guided by the demo's own CLIP embeddings.

    python -m demo.training.unet --steps 12000

Needs the autoencoder and the CLIP pair. Guidance is learned for both contexts mixed as Versatile Diffusion mixes
them and for each alone; one scene in ten sees the empty caption and the grey picture. Decoded embeddings are never
exact, so half of the scenes are guided by embeddings moved by a random part of the difference of two other scenes'.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from brain_diffuser.clip import ClipText, ClipVision
from brain_diffuser.diffusion import ddim, weights
from brain_diffuser.diffusion.versatile import DualDenoiser
from demo.training import autoencoder, clip, corpus
from demo.training.loop import fit

OUT = Path("demo/models/versatile-diffusion")
CONFIG = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [96, 144, 192],
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "cross_attention_dim": clip.PROJECTION,
    "attention_head_dim": 4,
}


@torch.inference_mode()
def prepare(n_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents (n, 4, 16, 16), text and vision (n, tokens, 128) of the training scenes, float16, cached.

    The last row is what an unguided pass sees: the empty caption, the grey picture (and unused latents).
    """
    files = [corpus.FOLDER / f"unet_{name}.npy" for name in ("latents", "text", "vision")]
    if all(file.exists() for file in files):
        latents, text, vision = (np.load(file) for file in files)
        return latents, text, vision
    images, _, captions = corpus.read("shown")
    images = np.concatenate([images[:n_rows], np.full((1, *images.shape[1:]), 127, np.uint8)])
    texts = [*captions[:n_rows], [""]]
    read_text = ClipText.load(OUT)
    read_vision = ClipVision.load(OUT)
    vae = AutoencoderKL.from_pretrained(OUT / "vae").eval()
    parts: tuple[list, list, list] = ([], [], [])
    for start in range(0, len(images), 100):
        batch, words = images[start : start + 100], texts[start : start + 100]
        flat = read_text([text for caption in words for text in caption])
        split = torch.split(flat, [len(caption) for caption in words])
        parts[0].append(vae.encode(autoencoder.to_input(batch)).latent_dist.mean * vae.config.scaling_factor)
        parts[1].append(torch.stack([caption.mean(0) for caption in split]))
        parts[2].append(read_vision(batch))
    arrays = [torch.cat(part).to(torch.float16).numpy() for part in parts]
    for file, array in zip(files, arrays, strict=True):
        np.save(file, array)
    return arrays[0], arrays[1], arrays[2]


def main(steps: int, batch_size: int, lr: float, n_rows: int) -> None:
    latents, text, vision = prepare(n_rows)
    alpha_bars = ddim.alpha_bars()
    torch.manual_seed(0)
    model = DualDenoiser.from_configs(CONFIG, CONFIG)

    def loss(model, rows, generator):
        n = len(rows)
        x0 = torch.from_numpy(latents[rows]).float()
        c_text, c_vision = (torch.from_numpy(c[rows]).float() for c in (text, vision))
        one, two = (torch.randint(n_rows, (n,), generator=generator).numpy() for _ in range(2))
        scale = torch.rand(n, 1, 1, generator=generator) * 0.8 * (torch.rand(n, 1, 1, generator=generator) < 0.5)
        c_text = c_text + scale * torch.from_numpy(text[one].astype(np.float32) - text[two])
        c_vision = c_vision + scale * torch.from_numpy(vision[one].astype(np.float32) - vision[two])
        unguided = torch.rand(n, 1, 1, generator=generator) < 0.1
        c_text = torch.where(unguided, torch.from_numpy(text[-1:]).float(), c_text)
        c_vision = torch.where(unguided, torch.from_numpy(vision[-1:]).float(), c_vision)
        # nine in ten noise levels are those that img2img at strength 0.75 passes
        top = torch.where(torch.rand(n, generator=generator) < 0.9, 760, 1000)
        t = (torch.rand(n, generator=generator) * top).long()
        noise = torch.randn(x0.shape, generator=generator)
        bar = alpha_bars[t].float()[:, None, None, None]
        x = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
        share = torch.rand((), generator=generator).item()
        model.text_weight = 0.4 if share < 0.7 else 1.0 if share < 0.85 else 0.0
        with torch.autocast("cpu", torch.bfloat16):
            predicted = model(x, t, c_text, c_vision)
        error = (predicted.float() - noise).square().mean((1, 2, 3))
        # the loss of v-prediction (Salimans & Ho 2022), which lets the shapes drawn at high noise count as much as
        # the texture drawn at low noise; bounded where the noise is nearly all there is
        weighted = error / alpha_bars[t].float().clamp(min=0.05)
        high, low = (part.mean().nan_to_num().item() for part in (error[t >= 400], error[t < 300]))
        return weighted.mean(), {"high_noise": high, "low_noise": low}

    model = fit(
        model,
        loss,
        name="unet",
        folder=corpus.FOLDER,
        n_rows=n_rows,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        averaging=0.999,
        checkpoint_every=100,
    )
    weights.save(model.half(), OUT)
    logging.info(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=9e-4)
    parser.add_argument("--n-rows", type=int, default=40000)
    main(**vars(parser.parse_args()))
