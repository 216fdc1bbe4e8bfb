"""Train the demo's dual-context UNet on latents of the scenes, conditioned by the demo's CLIP embeddings.

    python -m demo.training.unet --steps 6000

Needs the autoencoder and the CLIP pair. Guidance is learned for both contexts mixed as Versatile Diffusion mixes
them and for each alone; one scene in ten has the empty caption and the grey image. Four in five are conditioned by
embeddings as a linear decoder of noisy recordings would give them, good or bad: a UNet that only ever saw exact ones
takes decoding errors for shapes.

Two small terms say early what the noise loss alone finds out so slowly that on a small machine the embeddings go
unused, and a linear map does better. One asks half of the heads to look, from each place, at the patches of that
place, and one at the token of the whole image: each decoded patch says little, and all of them together say best what
the objects are. The other asks linear maps of the hidden states, which training alone has, for the kind of object at
each place: what the embeddings say together is then known where shapes are drawn (Yu et al. 2024, arXiv 2410.06940,
align hidden states with features of a network of images).
"""

import argparse
import json
import logging
import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from brain_diffuser.generation import ddim
from brain_diffuser.models.clip import ClipText, ClipVision
from brain_diffuser.models.diffusion import weights
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser, DualTransformer
from demo import scenes
from demo.training import autoencoder, clip, corpus
from demo.training.loop import fit, precision

OUT = Path("demo/models/versatile-diffusion")
CONFIG = {
    "sample_size": 16,
    "in_channels": autoencoder.CHANNELS,
    "out_channels": autoencoder.CHANNELS,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [96, 144, 192],
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "cross_attention_dim": clip.PROJECTION,
    "attention_head_dim": 4,
}
MIXED = 0.4  # weight of the text where both contexts are read
ALIGNMENT = 0.1  # weight of the term that aligns attention
KINDS = 0.1  # weight of the term that asks for the kind of object at each place


class Aligned:
    """Cross-attention to the image that notes how much of it misses what it should look at."""

    def __init__(self) -> None:
        self.missed = torch.zeros(())

    def __call__(self, attention, hidden_states, encoder_hidden_states, **_):
        query, key, value = (
            project(states).unflatten(-1, (attention.heads, -1)).transpose(1, 2)  # (batch, heads, places, dim)
            for project, states in (
                (attention.to_q, hidden_states),
                (attention.to_k, encoder_hidden_states),
                (attention.to_v, encoder_hidden_states),
            )
        )
        looks = (query @ key.mT * attention.scale).float().log_softmax(-1)  # (batch, heads, places, tokens)
        asked = to_look_at(attention.heads, looks.shape[2])
        self.missed = -looks[:, : len(asked)].masked_fill(~asked, -torch.inf).logsumexp(-1).mean()
        seen = (looks.exp().to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return attention.to_out[0](seen)


@cache
def to_look_at(n_heads: int, n_places: int) -> torch.Tensor:
    """Tokens that the first heads shall look at from each place: (heads / 2 + 1, places, 1 + patches).

    Half of all heads: the patches of that place. One more: the first token, the whole image.
    """
    side, patches = math.isqrt(n_places), corpus.PATCHES
    place = torch.arange(patches) * side // patches  # of each row or column of patches
    place = place[:, None] * side + place
    here = F.pad(place.flatten() == torch.arange(n_places)[:, None], (1, 0))
    whole = torch.zeros_like(here)
    whole[:, 0] = True
    return torch.stack([here] * (n_heads // 2) + [whole])


class Supervised(nn.Module):
    """The UNet beside linear maps from its hidden states on 8 x 8 places to the kind of object there, or none."""

    def __init__(self, net: DualDenoiser, n_kinds: int):
        super().__init__()
        self.net = net
        first, second = net.unet.up_blocks[:2]
        n_first, n_second = CONFIG["block_out_channels"][:0:-1]
        self.kinds = nn.ModuleList(nn.Conv2d(n, n_kinds + 1, 1) for n in (n_first, n_second))
        self.states: list[torch.Tensor] = []
        first.register_forward_hook(lambda _, __, output: self.states.append(output))
        second.attentions[-1].register_forward_hook(lambda _, __, output: self.states.append(output[0]))

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, text: torch.Tensor, vision: torch.Tensor, text_weight: float
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The noise, and of each map the logits (batch, 1 + kinds, 8, 8)."""
        self.states.clear()
        noise = self.net(x, t, text, vision, text_weight)
        logits = [kinds(states) for kinds, states in zip(self.kinds, self.states, strict=True)]
        self.states.clear()
        return noise, logits


class Decoded:
    """Embeddings as the best linear decoder gives them from noisy recordings of the embeddings and of what is where.

    White noise is added to the principal components of the embeddings and to the contents of the scene; a linear
    estimate is made of both, and every column is stretched to its true spread again, as `ridge.rescale` does. The
    contents make errors those of a decoder that knows the kinds of objects better than their looks, as brains do;
    from the embeddings alone, noise would drown the kind first. There are `LEVELS` of noise, from `R2[0]` to `R2[1]` of
    the variance explained before the stretching. These and the weight `CONTENTS` were chosen with an eye on what the
    demo's subject leaves of the embeddings; its betas are not used.
    """

    R2, LEVELS, COMPONENTS, CONTENTS = (0.78, 0.55), 32, 512, 0.015

    def __init__(self, embeddings: np.ndarray, contents: np.ndarray):
        def some(rows: np.ndarray, count: int) -> torch.Tensor:
            return torch.from_numpy(rows[:: max(1, len(rows) // count)]).float().flatten(1)

        few = some(embeddings, 3000)
        self.mean = few.mean(0)
        many = some(embeddings, 12000) - self.mean
        variance, left = torch.linalg.eigh((few - self.mean) @ (few - self.mean).T / len(few))
        variance, left = variance.flip(0)[: self.COMPONENTS], left.flip(1)[:, : self.COMPONENTS]
        directions = (few - self.mean).T @ left / (variance * len(few)).sqrt()  # (columns, components), orthonormal
        total = many.var(0, unbiased=False)  # (columns,)
        scores = many @ directions
        content = some(contents, 12000)
        self.content_mean = content.mean(0)
        self.content_scale = (self.CONTENTS * total.sum()).sqrt() / content.std(0).clamp(min=1e-6)
        recorded = torch.cat([scores, (content - self.content_mean) * self.content_scale], 1)  # (rows, channels)
        variance, rotation = torch.linalg.eigh(recorded.T @ recorded / len(recorded))
        variance = variance.clamp(min=0)
        self.to_recorded = directions @ rotation[: self.COMPONENTS]  # (columns, channels)
        self.content_to_recorded = rotation[self.COMPONENTS :]
        to_columns = rotation.T @ (recorded.T @ many / len(many))  # (channels, columns)
        candidates = variance[-1] * torch.logspace(1, -8, 2000)[:, None]
        explained = (to_columns.square().sum(1) / (variance + candidates)).sum(1) / total.sum()
        wanted = torch.linspace(*self.R2, self.LEVELS)
        noise = candidates[(explained[:, None] - wanted).abs().argmin(0)]  # (levels, 1)
        self.noise, self.shrink = noise.sqrt(), 1 / (variance + noise)  # (levels, 1), (levels, channels)
        self.to_columns = to_columns
        self.stretch = (total / (self.shrink @ to_columns.square()).clamp(min=1e-12)).sqrt().clamp(max=4)

    def __call__(
        self, embeddings: torch.Tensor, contents: torch.Tensor, level: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """(batch, tokens, dim) at each row's level."""
        recorded = (embeddings.flatten(1) - self.mean) @ self.to_recorded
        recorded = recorded + (contents - self.content_mean) * self.content_scale @ self.content_to_recorded
        recorded = recorded + self.noise[level] * torch.randn(recorded.shape, generator=generator)
        decoded = (recorded * self.shrink[level]) @ self.to_columns * self.stretch[level] + self.mean
        return decoded.view_as(embeddings)


def what_is_where(n_rows: int) -> np.ndarray:
    """Contents of the training scenes, float32 (n, 4 * 4 * kinds + backgrounds): each kind's cover of a sixteenth."""
    _, labels, _ = corpus.read("shown")
    kinds = corpus.known_things()
    covered = labels[:n_rows, :, :, None] == np.array(kinds) + 1  # (n, 8, 8, kinds)
    covered = covered.reshape(n_rows, 4, 2, 4, 2, len(kinds)).mean((2, 4), dtype=np.float32)
    shown = [scenes.sample(scenes.rng(corpus.SEED, "shown", i), kinds).background for i in range(n_rows)]
    background = np.array(shown)[:, None] == np.array(sorted(set(shown)))
    return np.concatenate([covered.reshape(n_rows, -1), background.astype(np.float32)], 1)


@torch.inference_mode()
def prepare(n_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents (n, channels, 16, 16), text and vision (n, tokens, 128) of the training scenes, float16, cached.

    The last row is for the unconditional pass: the empty caption and the grey image (and unused latents).
    """
    files = [corpus.FOLDER / f"unet_{name}.npy" for name in ("latents", "text", "vision")]
    if all(file.exists() for file in files):
        latents, text, vision = (np.load(file) for file in files)
        return latents, text, vision
    images, _, captions = corpus.read("shown")
    images = np.concatenate([images[:n_rows], np.full((1, *images.shape[1:]), 127, np.uint8)])
    texts = [*captions[:n_rows], [""]]
    text_tower = ClipText.load(OUT)
    vision_tower = ClipVision.load(OUT)
    vae = autoencoder.read(OUT / "vae").eval()
    parts: tuple[list, list, list] = ([], [], [])
    for start in range(0, len(images), 100):
        batch, words = images[start : start + 100], texts[start : start + 100]
        flat = text_tower([text for caption in words for text in caption])
        split = torch.split(flat, [len(caption) for caption in words])
        parts[0].append(vae.encode(autoencoder.to_input(batch)).latent_dist.mean * vae.config.scaling_factor)
        parts[1].append(torch.stack([caption.mean(0) for caption in split]))
        parts[2].append(vision_tower(batch))
    arrays = [torch.cat(part).to(torch.float16).numpy() for part in parts]
    for file, array in zip(files, arrays, strict=True):
        np.save(file, array)
    return arrays[0], arrays[1], arrays[2]


@torch.no_grad()
def begin(model: DualDenoiser, earlier: Path) -> None:
    """Fill a model with the weights of the UNet in another folder, which may have been trained on other latents.

    Its first and last convolution are turned by the linear map that turns the present latents into the earlier ones.
    """
    images = autoencoder.to_input(corpus.read("held-out")[0][:200])
    columns = []
    for folder in (OUT, earlier):
        vae = autoencoder.read(folder / "vae").eval()
        latents = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
        columns.append(latents.permute(0, 2, 3, 1).flatten(0, 2))
    present, past = (each - each.mean(0) for each in columns)
    to_past = torch.linalg.lstsq(present, past).solution.T  # (earlier channels, channels)
    to_present = torch.linalg.lstsq(past, present).solution.T
    state = weights.load(earlier)[0].float().state_dict()
    first, last, bias = "unet.conv_in.weight", "unet.conv_out.weight", "unet.conv_out.bias"
    state[first] = torch.einsum("oeyx,ec->ocyx", state[first], to_past)
    state[last], state[bias] = torch.einsum("ce,eiyx->ciyx", to_present, state[last]), to_present @ state[bias]
    model.load_state_dict(state)


def main(
    steps: int, batch_size: int, lr: float, n_rows: int, decay: int | None, earlier: Path | None, compile_mixed: bool
) -> None:
    latents, text, vision = prepare(n_rows)
    contents = what_is_where(n_rows)
    labels, kinds = corpus.read("shown")[1][:n_rows], corpus.known_things()
    at_place = np.where(labels > 0, 1 + np.searchsorted(kinds, labels - 1), 0)  # (n, 8, 8); 0: no object
    decode_text, decode_vision = (Decoded(embeddings[:-1], contents) for embeddings in (text, vision))
    alpha_bars = ddim.alpha_bars()
    torch.manual_seed(0)
    net = DualDenoiser.from_configs(CONFIG, CONFIG)
    if earlier:
        begin(net, earlier)
    model = Supervised(net, len(kinds)).to(memory_format=torch.channels_last)
    net.unet.set_attn_processor(AttnProcessor())  # for so few tokens, faster than the fused attention
    compiled = torch.compile(model) if compile_mixed else model
    aligned = []
    for module in model.modules():
        if isinstance(module, DualTransformer):
            aligned.append(Aligned())
            module.vision.transformer_blocks[0].attn2.set_processor(aligned[-1])

    def loss(model, rows, generator):
        n = len(rows)
        x0 = torch.from_numpy(latents[rows]).float()
        c_text, c_vision = (torch.from_numpy(c[rows]).float() for c in (text, vision))
        of_text, of_vision = torch.randint(Decoded.LEVELS, (2, n), generator=generator)
        is_decoded = torch.rand(n, 1, 1, generator=generator) < 0.8
        content = torch.from_numpy(contents[rows])
        c_text = torch.where(is_decoded, decode_text(c_text, content, of_text, generator), c_text)
        c_vision = torch.where(is_decoded, decode_vision(c_vision, content, of_vision, generator), c_vision)
        is_uncond = torch.rand(n, 1, 1, generator=generator) < 0.1
        c_text = torch.where(is_uncond, torch.from_numpy(text[-1:]).float(), c_text)
        c_vision = torch.where(is_uncond, torch.from_numpy(vision[-1:]).float(), c_vision)
        # nine in ten noise levels are those that img2img at strength 0.75 passes
        top = torch.where(torch.rand(n, generator=generator) < 0.9, 760, 1000)
        t = (torch.rand(n, generator=generator) * top).long()
        noise = torch.randn(x0.shape, generator=generator)
        bar = alpha_bars[t].float()[:, None, None, None]
        x = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
        share = torch.rand((), generator=generator).item()
        text_weight = MIXED if share < 0.65 else 1.0 if share < 0.9 else 0.0
        with precision():
            x = x.contiguous(memory_format=torch.channels_last)
            predicted, logits = (compiled if text_weight == MIXED else model)(x, t, c_text, c_vision, text_weight)
        error = (predicted.float() - noise).square().mean((1, 2, 3))
        # the loss of v-prediction (Salimans & Ho 2022), which lets the shapes drawn at high noise count as much as
        # the texture drawn at low noise; bounded where the noise is nearly all there is
        weighted = error / alpha_bars[t].float().clamp(min=0.05)
        reads_patches = text_weight < 1
        missed = torch.stack([attention.missed for attention in aligned]).mean() if reads_patches else torch.zeros(())
        there = torch.from_numpy(at_place[rows])
        unnamed = torch.stack([F.cross_entropy(each.float(), there, reduction="none") for each in logits])
        unnamed = unnamed[:, ~is_uncond.flatten()].mean()
        high, low = (part.mean().nan_to_num().item() for part in (error[t >= 400], error[t < 300]))
        parts = {"high_noise": high, "low_noise": low, "missed": missed.item(), "unnamed": unnamed.item()}
        return weighted.mean() + ALIGNMENT * missed + KINDS * unnamed, parts

    net = fit(
        model,
        loss,
        name="unet",
        folder=corpus.FOLDER,
        n_rows=n_rows,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        averaging=0.998,
        checkpoint_every=100,
        decay=decay,
        orthogonal=True,
    ).net
    weights.save(net.half(), OUT)
    logging.info(json.dumps({"parameters": sum(p.numel() for p in net.parameters())}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--n-rows", type=int, default=40000)
    parser.add_argument("--decay", type=int, help="last steps, over which the rate falls; default: a cosine over all")
    parser.add_argument("--compile", dest="compile_mixed", action="store_true", help="minutes once, then faster")
    parser.add_argument("--earlier", type=Path, help="folder of models whose UNet is trained further")
    main(**vars(parser.parse_args()))
