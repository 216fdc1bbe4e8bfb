"""A step of Versatile Diffusion under classifier-free guidance and its autoencoder, beside the authors' program.

    python -m benchmarks.versatile --channels 320 --latents 64 --dtype bfloat16 --threads 2     # the published size

Random weights and inputs. The authors' program runs both passes of guidance at once, as ours does, with attention
written out (products, softmax, products) and the contexts projected in every step; `fused` is the same with torch's
fused attention. All have the same weights, and must give the same noise. What was tried and not kept, or is a setting,
runs if `--ways` names it; `--batch-invariance` compares an image alone with the same image in a batch of two. Ways of
the same work run in turn in one process, and every figure is the median of the repeats. FLOPs are those of products,
convolutions and attention; the peak is what a product of two matrices of 2,048 reaches in the same precision, beside.
Peak memory is that of a process of its own.
"""

import argparse
import copy
import platform
import sys
from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import (
    Attention,
    AttnProcessor,
    AttnProcessor2_0,
    FusedAttnProcessor2_0,
)

from benchmarks import timing
from brain_diffuser.models import layout
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, DualDenoiser

STEPS = {
    "ours": "a step, ours",
    "fused": "a step as in the authors' program, with fused attention",
    "written_out": "a step as in the authors' program, attention written out",
}
TRIED = {
    "one_product": "a step, ours with one product for query, key and value of self-attention",
    "compiled": "a step, ours compiled by torch",
}
OTHERS = {"encode": "autoencoder, encoding", "decode": "autoencoder, decoding"}
TILED = {"tiled": "autoencoder, decoding by diffusers' tiles of 256 px"}
ALL = STEPS | TRIED | OTHERS | TILED
TOLERANCE = {"float32": 1e-4, "bfloat16": 6e-2, "float16": 1e-2}
"""Of noise with standard deviation 1, as a root mean square between two orders of the same sums."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=64, help="of the first level, at least 160; 320 is published")
    parser.add_argument("--latents", type=int, default=32, help="side of the latents; 64 is the published size")
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--repeats", type=int, default=3, help="timed after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=list(TOLERANCE))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", default=[*STEPS, *OTHERS], choices=list(ALL))
    parser.add_argument(
        "--batch-invariance", action="store_true", help="compare an image alone with one of two instead"
    )
    options = parser.parse_args()
    out = sys.stdout.write
    if options.batch_invariance:
        out(timing.alone(batch_invariance, options) + "\n")
        return
    kinds = (STEPS | TRIED, {"encode": ""}, {"decode": ""} | TILED)
    groups = [[way for way in kind if way in options.ways] for kind in kinds]
    found: dict[str, timing.Row] = {}
    for group in filter(None, groups):
        found |= timing.alone(measure, group, options)
    memory = {way: timing.alone(peak_memory, way, options) for way in found}
    unit = "CPU-s" if options.device == "cpu" else "s"
    out(f"torch {torch.__version__}, {platform.machine()}, {options.device}, {options.threads} thread(s), ")
    out(f"{options.dtype}, {options.channels} channels, latents of {options.latents}, {options.batch} image(s), ")
    out(f"median of {options.repeats}\n\n| what | {unit} | share of the peak | beside ours | peak memory, GiB |\n")
    out("| --- | --- | --- | --- | --- |\n")
    for way, name in ALL.items():
        if way in found:
            row, first = found[way], found.get("ours" if way in STEPS | TRIED else "decode")
            ratio = f"{row.seconds / first.seconds:.2f} x" if first and way != "encode" else ""
            out(f"| {name} | {row.seconds:.2f} | {row.share:.2f} | {ratio} | {memory[way]:.2f} |\n")


@torch.inference_mode()
def measure(ways: list[str], options: argparse.Namespace) -> dict[str, timing.Row]:
    """Seconds and share of the peak of each way, in turn."""
    torch.set_num_threads(options.threads)
    timed = {way: timing.Way(run, options.dtype, options.batch) for way, run in runs_of(ways, options).items()}
    return timing.in_turn(timed, options.repeats, options.device, lambda outputs: check(outputs, options.dtype))


@torch.inference_mode()
def peak_memory(way: str, options: argparse.Namespace) -> float:
    """GiB that a way takes at most."""
    torch.set_num_threads(options.threads)
    (run,) = runs_of([way], options).values()
    run()
    return timing.peak_gib(options.device)


def check(outputs: dict[str, torch.Tensor], dtype: str) -> None:
    """Exit if the ways of a step give different noise; say how far an image in tiles is from a whole one."""
    for way in [way for way in STEPS | TRIED if way in outputs][1:]:
        error = timing.spread_difference(next(iter(outputs.values())), outputs[way])
        if not error <= TOLERANCE[dtype]:
            sys.exit(f"{ALL[way]}: the noise differs by {error:.1e} of its spread from that of {STEPS['ours']}")
    if outputs.keys() >= {"decode", "tiled"}:
        levels = (outputs["decode"].int() - outputs["tiled"].int()).abs().float()
        sys.stdout.write(f"tiles: {levels.mean():.2f} grey levels off on average, {levels.max():.0f} at most\n")


@torch.inference_mode()
def batch_invariance(options: argparse.Namespace) -> str:
    """How far a step's noise of an image alone is from its noise in a batch of two, as one sentence."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.batch = 2
    denoiser = build(DualDenoiser.from_configs, options, describe(options), describe(options))
    layout.arrange(denoiser, options.device, getattr(torch, options.dtype))
    x, t, *contexts = inputs(options)  # both images' unconditional passes, then the conditional ones
    together = denoiser(x, t, *contexts, 0.4)[::2]
    alone = denoiser(x[::2], t, *(context[::2] for context in contexts), 0.4)
    again = denoiser(x[::2], t, *(context[::2] for context in contexts), 0.4)
    if not torch.equal(alone, again):
        sys.exit("two equal steps give different noise")
    share, far = (alone != together).float().mean(), timing.spread_difference(alone, together)
    return (
        f"{options.dtype}, {options.channels} channels, latents of {options.latents}: the noise of an image alone and "
        f"in a batch of two differs in {share:.0%} of its numbers, by {far:.1e} of its spread"
    )


def runs_of(ways: list[str], options: argparse.Namespace) -> dict[str, Callable[[], torch.Tensor]]:
    """Of each way what it runs; steps have the same weights and inputs."""
    torch.manual_seed(0)
    runs: dict[str, Callable[[], torch.Tensor]] = {}
    if set(ways) & set(STEPS | TRIED):
        plain = build(DualDenoiser.from_configs, options, describe(options), describe(options))
        x, t, text, vision = inputs(options)
        for way in ways:
            denoiser = plain if way in ("fused", "written_out") or len(ways) == 1 else copy.deepcopy(plain)
            runs[way] = step(way, denoiser, options, (x, t, text, vision))
    if "encode" in ways:
        side = 8 * options.latents
        images = torch.randint(0, 256, (options.batch, side, side, 3), dtype=torch.uint8, device=options.device)
        runs["encode"] = lambda: autoencoder.encode(images)
    if set(ways) & {"decode", "tiled"}:
        latents = torch.randn(options.batch, 4, options.latents, options.latents, device=options.device)
        decoding = {way: tiled for way, tiled in (("decode", False), ("tiled", True)) if way in ways}
        runs |= {way: lambda tiled=tiled: decode(autoencoder, latents, tiled) for way, tiled in decoding.items()}
    if set(ways) & set(OTHERS | TILED):
        autoencoder = build(autoencoder_of, options, options)
        layout.arrange(autoencoder, options.device, getattr(torch, options.dtype))
    return runs


def decode(autoencoder: Autoencoder, latents: torch.Tensor, tiled: bool) -> torch.Tensor:
    """Images of latents, whole or tile by tile; a tile has half the side."""
    vae = autoencoder.vae
    vae.use_tiling, vae.tile_latent_min_size = tiled, latents.shape[-1] // 2
    vae.tile_sample_min_size = autoencoder.downscale * vae.tile_latent_min_size
    return autoencoder.decode(latents)


def step(
    way: str, denoiser: DualDenoiser, options: argparse.Namespace, given: tuple[torch.Tensor, ...]
) -> Callable[[], torch.Tensor]:
    """A step of one way."""
    x, t, text, vision = given
    if way in ("ours", *TRIED):
        layout.arrange(denoiser, options.device, getattr(torch, options.dtype))
        if way == "compiled":
            denoiser.unet.compile(dynamic=False)
        for layer in denoiser.modules() if way == "one_product" else ():
            if isinstance(layer, Attention) and not layer.is_cross_attention:
                layer.fuse_projections()
                layer.set_processor(FusedAttnProcessor2_0())
        projected = denoiser.project(text, vision)
        return lambda: denoiser(x, t, *projected, 0.4)
    processor = AttnProcessor() if way == "written_out" else AttnProcessor2_0()
    layers = [module for module in denoiser.modules() if isinstance(module, Attention)]

    def run() -> torch.Tensor:
        for layer in layers:
            layer.set_processor(processor)
        return denoiser(x, t, text, vision, 0.4)

    return run


def autoencoder_of(options: argparse.Namespace) -> Autoencoder:
    levels = [max(32, options.channels * 2 // 5 // 32 * 32) * k for k in (1, 2, 4, 4)]  # 128 to 512 are published
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    return Autoencoder(AutoencoderKL(block_out_channels=levels, layers_per_block=2, latent_channels=4, **kinds))


def build(make: Callable, options: argparse.Namespace, *arguments):
    """A network of random weights made in its own precision, so that memory never holds a second copy."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, options.dtype))
    try:
        with torch.device(options.device):
            return make(*arguments).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def inputs(options: argparse.Namespace) -> tuple[torch.Tensor, ...]:
    """Latents, timestep and both contexts of `batch` images, for the unconditional and the conditional pass."""
    shapes = (
        (2 * options.batch, 4, options.latents, options.latents),
        *((2 * options.batch, n, 768) for n in (77, 257)),
    )
    x, text, vision = (torch.randn(shape, device=options.device) for shape in shapes)
    return x, torch.tensor(500, device=options.device), text, vision


def describe(options: argparse.Namespace) -> dict:
    """The description of a UNet of that size."""
    levels = [options.channels * k for k in (1, 2, 4, 4)]
    sizes = {"sample_size": options.latents, "block_out_channels": levels}
    return sizes | {"cross_attention_dim": 768, "attention_head_dim": 8}


if __name__ == "__main__":
    main()
