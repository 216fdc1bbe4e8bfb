"""Train the demo's IP-Adapter on its Stable Diffusion, which is made of its Versatile Diffusion (demo/stable.py).

    python -m demo.training.corpus --scenes 2000; python -m demo.training.adapter

The UNet stays as it is. What is trained is what an adapter's file has: the layer that makes four tokens of the pooled
image embedding, and second keys and values of every attention to text, which begin as those of text. The layer begins
as a linear map from the image embedding to the states of captions, in four stretches of tokens, so that few steps will
do. Half of the embeddings are as a decoder gives them, mixed with those of another scene; half of the captions are
empty.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.embeddings import ImageProjection
from safetensors.torch import save_file
from torch import nn

from brain_diffuser.generation import ddim
from brain_diffuser.models.adapter_vision import AdapterVision
from brain_diffuser.models.clip import HiddenText
from brain_diffuser.models.diffusion import adapter_files, stable_diffusion
from brain_diffuser.models.diffusion.ip_adapter import AdaptedDenoiser
from demo import stable
from demo.training import corpus
from demo.training.loop import fit

SOURCE = Path("demo/models/versatile-diffusion")
OUT = SOURCE / "ip-adapter_sd15.safetensors"
N_TOKENS, BATCH, RATE = 4, 16, 1e-3


@torch.inference_mode()
def prepare(base: Path, n_rows: int) -> dict[str, np.ndarray]:
    """Latents, text states and pooled image embeddings of the training scenes; the last text is the empty caption's."""
    file = corpus.FOLDER / "adapter.npz"
    if file.exists():
        return dict(np.load(file))
    images, _, captions = corpus.read("shown")
    images, captions = images[:n_rows], captions[:n_rows]
    text, vision, autoencoder = HiddenText.load(base), AdapterVision.load(SOURCE), stable_diffusion.load(base)[1]
    found: dict[str, list[Any]] = {"latents": [], "text": [], "image": []}
    for start in range(0, n_rows, 50):
        rows = slice(start, start + 50)
        found["latents"].append(autoencoder.encode(torch.from_numpy(images[rows])).half().numpy())
        found["text"].append(text([each[0] for each in captions[rows]]).half().numpy())
        found["image"].append(vision.pooled(images[rows])[:, 0].numpy())
    found["text"].append(text([""]).half().numpy())
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    np.savez(file, **arrays)
    return arrays


def begin(base: Path, arrays: dict[str, np.ndarray]) -> AdaptedDenoiser:
    """The UNet with an adapter whose tokens are linear estimates of a caption's states."""
    unet = stable_diffusion.load(base)[0].unet
    width = unet.config["cross_attention_dim"]
    states = torch.from_numpy(arrays["text"][:-1]).float()
    image = torch.from_numpy(arrays["image"])
    projection = ImageProjection(image.shape[1], width, N_TOKENS)
    stretches = torch.stack([part.mean(1) for part in states[:, 1:25].chunk(N_TOKENS, 1)], 1)  # (rows, tokens, width)
    centred, mean = image - image.mean(0), stretches.flatten(1).mean(0)
    gram = centred.T @ centred + 1e-3 * len(image) * centred.var() * torch.eye(image.shape[1])
    slope = torch.linalg.solve(gram, centred.T @ (stretches.flatten(1) - mean))
    with torch.no_grad():
        projection.image_embeds.weight.copy_(slope.T)
        projection.image_embeds.bias.copy_(mean - image.mean(0) @ slope)
        projection.norm.weight.fill_(float(stretches.std(-1).mean()))
        denoiser = AdaptedDenoiser(unet, projection, 64)
        for layer in denoiser.readers(""):
            layer.processor.to_k_ip[0].weight.copy_(layer.to_k.weight)
            layer.processor.to_v_ip[0].weight.copy_(layer.to_v.weight)
    return denoiser


def main(steps: int, n_rows: int) -> None:
    """Train, and write the adapter under its published name."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        stable.derive(SOURCE, base)
        arrays = prepare(base, n_rows)
        torch.manual_seed(0)
        denoiser = begin(base, arrays)
    latents, text, image = (torch.from_numpy(arrays[name]).float() for name in ("latents", "text", "image"))
    n_rows, alpha_bars, mean = len(latents), ddim.alpha_bars(), image.mean(0)
    denoiser.eval().requires_grad_(False)
    adapter = nn.ModuleList([denoiser.projection, *(layer.processor for layer in denoiser.readers(""))])
    adapter.requires_grad_(True)

    def loss(_: nn.Module, rows: np.ndarray, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.from_numpy(rows)
        other = torch.randint(n_rows, (len(rows),), generator=generator)
        share = 0.6 + 0.4 * torch.rand(len(rows), 1, generator=generator)
        mixed = mean + share * (image[chosen] - mean) + (1 - share**2).sqrt() * (image[other] - mean)
        is_decoded = torch.rand(len(rows), 1, generator=generator) < 0.5
        of_image = torch.where(is_decoded, mixed, image[chosen])
        is_dropped = torch.rand(len(rows), 1, generator=generator) < 0.05
        of_image = torch.where(is_dropped, torch.zeros(()), of_image)
        is_empty = torch.rand(len(rows), generator=generator) < 0.5
        of_text = text[torch.where(is_empty, n_rows, chosen)]
        top = torch.where(torch.rand(len(rows), generator=generator) < 0.9, 760, 1000)
        t = (torch.rand(len(rows), generator=generator) * top).long()
        noise = torch.randn(latents[chosen].shape, generator=generator)
        bar = alpha_bars[t].float()[:, None, None, None]
        x = bar.sqrt() * latents[chosen] + (1 - bar).sqrt() * noise
        scale = 0.6 if torch.rand((), generator=generator) < 0.5 else 1.0
        # a text_weight of 0 would read the unconditional text
        predicted = denoiser(x, t, *denoiser.projected(of_text, of_image[:, None]), max(1 - scale, 1e-6))
        error = (predicted - noise).square().mean((1, 2, 3))
        return (error / alpha_bars[t].float().clamp(min=0.05)).mean(), {"error": error.mean().item()}

    averaged = fit(
        adapter,
        loss,
        name="adapter",
        folder=corpus.FOLDER,
        n_rows=n_rows,
        steps=steps,
        batch_size=BATCH,
        lr=RATE,
        averaging=0.98,
        warmup=20,
        checkpoint_every=20,
    )
    adapter.load_state_dict(averaged.state_dict())
    state = denoiser.state_dict()
    names = adapter_files.adapter_names(denoiser)
    save_file({name: state[inside].half().contiguous() for name, inside in names.items()}, OUT)
    logging.info("%d parameters, %d bytes", sum(each.numel() for each in adapter.parameters()), OUT.stat().st_size)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--n-rows", type=int, default=2000)
    arguments = parser.parse_args()
    main(arguments.steps, arguments.n_rows)
