"""A step of NeuralDiffuser's guidance: CPU-seconds of the gradient in two parts and in one graph, and what it keeps.

    python -m benchmarks.guidance                                   # half the published channels, images of 256 px
    python -m benchmarks.guidance --channels 320 --latents 64       # the published size: many minutes, 20 GB in float32

Random weights and inputs. The authors' program takes the gradient of the distance through CLIP, autoencoder and UNet as
one graph; ours takes it in two parts, because the latents that a step expects follow from noise that it has already.
Both must give the same gradient. Steps of all ways run in turn in one process, and every figure is the median of the
repeats; peak memory is that of a process of its own.

What the graphs of the published networks hold for the gradient is counted on the meta device, which computes nothing:
the count is exact and takes seconds. Attention is counted as fused kernels keep it: query, key, value, output and one
number a row. Checked: attention's share against its closed form.
"""

import argparse
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks import timing, versatile
from brain_diffuser.generation import guidance
from brain_diffuser.models import checkpoints, clip, layout
from brain_diffuser.models.diffusion.descriptions import PUBLISHED
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser

WAYS = {
    "none": "a step without guidance",
    "two_parts": "a guided step, ours: the gradient in two parts",
    "one_graph": "a guided step as in the authors' program: one graph",
    "constant": "a guided step that leaves the UNet out of the gradient",
}
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.2}
"""Between gradients, in units of their spread."""
BLOCKS = [1, 2, 3, 4, 5, 6]
ALPHA_BAR = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=160, help="of the UNet's first level; 320 is published")
    parser.add_argument("--latents", type=int, default=32, help="side of the latents; 64, of 512 px, is published")
    parser.add_argument("--repeats", type=int, default=3, help="timed after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", choices=list(TOLERANCE))
    options = parser.parse_args()
    options.device, options.batch = "cpu", 1
    out = sys.stdout.write
    rows = timing.alone(measure, options)
    out(f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), {options.dtype}, ")
    out(f"{options.channels} channels, latents of {options.latents}, median of {options.repeats}\n\n")
    out("| what | CPU-s | share of the peak | beside ours | peak memory, GiB |\n| --- | --- | --- | --- | --- |\n")
    for way, row in rows.items():
        ratio, gib = row.seconds / rows["two_parts"].seconds, timing.alone(peak_memory, way, options)
        out(f"| {WAYS[way]} | {row.seconds:.2f} | {row.share:.2f} | {ratio:.2f} x | {gib:.2f} |\n")
    out("\n| kept for the gradient, published size, 512 px | UNet, GiB | autoencoder, GiB |\n| --- | --- | --- |\n")
    for dtype in (torch.float32, torch.float16):
        of_unet, of_vae = kept(dtype, 64)
        out(f"| {str(dtype).removeprefix('torch.')} | {of_unet / 2**30:.2f} | {of_vae / 2**30:.2f} |\n")


def measure(options: argparse.Namespace) -> dict[str, timing.Row]:
    """Seconds and share of the peak of each way, in turn."""
    torch.set_num_threads(options.threads)

    def check(gradients: dict[str, Tensor]) -> None:
        error = timing.spread_difference(gradients["two_parts"], gradients["one_graph"])
        if not error <= TOLERANCE[options.dtype]:
            sys.exit(f"the gradient in two parts differs by {error:.1e} of its spread from that of one graph")

    timed = {way: timing.Way(run, options.dtype) for way, run in runs_of(options).items()}
    return timing.in_turn(timed, options.repeats, check=check)


def peak_memory(way: str, options: argparse.Namespace) -> float:
    """GiB that a way takes at most."""
    torch.set_num_threads(options.threads)
    runs_of(options)[way]()
    return timing.peak_gib()


def runs_of(options: argparse.Namespace) -> dict[str, Callable[[], Tensor]]:
    """Of each way a step of one image; the same weights and inputs. What they return are gradients, or noise."""
    torch.manual_seed(0)
    sizes = versatile.describe(options)
    denoiser = versatile.build(DualDenoiser.from_configs, options, sizes, sizes)
    autoencoder = versatile.build(versatile.autoencoder_of, options, options)
    narrow = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    config = CLIPVisionConfig(**narrow if getattr(options, "small", False) else {})  # else ViT-B/32
    tower = versatile.build(CLIPVisionModelWithProjection, options, config)
    for network in (denoiser, autoencoder):
        layout.arrange(network, "cpu", getattr(torch, options.dtype))
    layers = clip.ClipLayers(tower, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    x, t, *contexts = versatile.inputs(options)
    both = denoiser.project(*contexts)
    conditional = denoiser.project(*(context[1:] for context in contexts))
    x = x[:1]
    targets = torch.randn(1, *layers.shape(BLOCKS))
    shares = torch.full((1, len(BLOCKS)), 1 / len(BLOCKS))

    def noise_in(x: Tensor) -> Tensor:
        return denoiser(x, t, *conditional, 0.4)

    def distance(latents: Tensor) -> Tensor:
        features = layers.forward(autoencoder.decode_to_float(latents), BLOCKS).float()
        dims = torch.full(features.shape[1:], 1 / features[0, 0].numel())
        return guidance.GRADIENT_SCALE * guidance.distance(features, targets, shares, dims).sum()

    def pull(latents: Tensor, _: int) -> Tensor:
        with torch.enable_grad():
            latents = latents.detach().requires_grad_()
            return torch.autograd.grad(distance(latents), latents)[0]

    @torch.no_grad()
    def none() -> Tensor:
        return denoiser(torch.cat([x, x]), t, *both, 0.4)

    @torch.no_grad()
    def two_parts(through: Callable | None = noise_in) -> Tensor:
        return guidance.gradient(x, none()[1:], pull, ALPHA_BAR, "standard", through)

    def one_graph() -> Tensor:
        none()
        given = x.detach().requires_grad_()
        latents = guidance.predicted_x0(given, noise_in(given), ALPHA_BAR, "standard")
        return torch.autograd.grad(distance(latents), given)[0]

    return {"none": none, "two_parts": two_parts, "one_graph": one_graph, "constant": lambda: two_parts(None)}


class Fused(torch.autograd.Function):
    """Attention that keeps what fused kernels keep."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, torch.empty(query.shape[:-1], device=query.device))
        return output


@contextmanager
def fused() -> Iterator[None]:
    of_torch = nn.functional.scaled_dot_product_attention
    nn.functional.scaled_dot_product_attention = lambda query, key, value, **_: Fused.apply(query, key, value)
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = of_torch


def saved_bytes(model: nn.Module, run: Callable[[], Tensor]) -> int:
    """Of storages that are no weights; each counts once."""
    weights = {each.untyped_storage()._cdata for each in [*model.parameters(), *model.buffers()]}
    held = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage._cdata] = storage  # held, or its address would be used again
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), fused():
        output = run()
    assert output.grad_fn is not None
    return sum(storage.nbytes() for address, storage in held.items() if address not in weights)


def kept(dtype: torch.dtype, side: int) -> tuple[int, int]:
    """Bytes that the graphs of the published UNet and autoencoder keep for an image whose latents have this side."""
    with torch.device("meta"):
        q = torch.zeros(1, 8, 64, 40, dtype=dtype).requires_grad_()
        attention = saved_bytes(nn.Identity(), lambda: nn.functional.scaled_dot_product_attention(q, q, q))
        assert attention == 2 * q.nbytes + 4 * 8 * 64  # query, key and value are one here
        where = argparse.Namespace(dtype=str(dtype).removeprefix("torch."), device="meta")
        unet = versatile.build(DualDenoiser.from_configs, where, PUBLISHED["image_unet"], PUBLISHED["text_unet"])
        vae = versatile.build(checkpoints.build, where, AutoencoderKL, PUBLISHED["vae"])
        x = torch.zeros(1, 4, side, side, dtype=dtype).requires_grad_()
        text, vision = torch.zeros(1, 77, 768), torch.zeros(1, 257, 768)
        of_unet = saved_bytes(unet, lambda: unet(x, 1, text, vision, 0.4))
        of_vae = saved_bytes(vae, lambda: vae.decode(x, return_dict=False)[0])
    return of_unet, of_vae


if __name__ == "__main__":
    main()
