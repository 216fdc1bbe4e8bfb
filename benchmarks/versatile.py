"""One step of the dual-context denoiser with classifier-free guidance, against two whole UNets that are mixed after.

    python benchmarks/versatile.py --channels 320 --latents 64 --dtype bfloat16     # the published size

Random weights and inputs; each way runs in a process of its own, so that peak memory is its own. `whole` holds what
loading both published UNets holds (2.6 billion parameters at the published size). Mixing predictions instead of
attention is another model, so what is checked is that the dual denoiser at text weight 0 is diffusers' own image UNet.
"""

import argparse
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel

from brain_diffuser.models import layout
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, DualDenoiser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=64, help="of the first level")
    parser.add_argument("--latents", type=int, default=32, help="side of the latents; 64 is the published size")
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--steps", type=int, default=3, help="timed after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {platform.machine()}, {options.device}, {options.threads} thread(s), ")
    out(f"{options.dtype}, {options.channels} channels, latents of {options.latents}, {options.batch} image(s)\n\n")
    out("| way | parameters | seconds | peak memory, GiB |\n| --- | --- | --- | --- |\n")
    for way in options.ways:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            parameters, seconds, gib = pool.submit(measure, way, options).result()
        out(f"| {WAYS[way][0]} | {parameters:,} | {seconds:.2f} | {gib:.2f} |\n")


@torch.inference_mode()
def measure(way: str, options: argparse.Namespace) -> tuple[int, float, float]:
    """Parameters, seconds and peak GiB; on the CPU process time, which other jobs disturb least."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    parameters, step = WAYS[way][1](options)
    on_cpu = options.device == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    step().sum().item()
    start = clock()
    for _ in range(options.steps):
        step().sum().item()
    seconds = (clock() - start) / options.steps
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return parameters, seconds, kib / 2**20 if on_cpu else torch.cuda.max_memory_allocated() / 2**30


def dual(options: argparse.Namespace) -> tuple[int, Callable[[], torch.Tensor]]:
    denoiser = build(DualDenoiser.from_configs, options, describe(options), describe(options))
    x, t, text, vision = inputs(options)
    if options.channels < 320:  # a second UNet would count in the peak
        plain = build(lambda config: UNet2DConditionModel(**config), options, describe(options))
        own = {name.replace(".vision.", "."): tensor for name, tensor in denoiser.unet.state_dict().items()}
        plain.load_state_dict({name: own[name] for name in plain.state_dict()})
        expected = plain(x.to(denoiser.unet.dtype), t, vision.to(denoiser.unet.dtype)).sample.float()
        error = (denoiser(x, t, text, vision, 0.0) - expected).abs().max().item()
        if error > 1e-4:
            raise SystemExit(f"at text weight 0 the dual denoiser is {error:.1e} from diffusers' image UNet")
    projected = denoiser.project(text, vision)
    return count(denoiser), lambda: denoiser(x, t, *projected, 0.4)


def whole(options: argparse.Namespace) -> tuple[int, Callable[[], torch.Tensor]]:
    image = build(lambda config: UNet2DConditionModel(**config), options, describe(options))
    text_unet = describe(options) | {"sample_size": 1, "in_channels": 768, "out_channels": 768}
    words = build(lambda config: UNetFlatConditionModel(**config), options, text_unet)
    x, t, text, vision = inputs(options)
    x, text, vision = (each.to(image.dtype) for each in (x, text, vision))
    # a pass under each context costs the same whichever UNet's transformers serve it
    return count(image) + count(words), lambda: torch.lerp(image(x, t, vision).sample, image(x, t, text).sample, 0.4)


def encode(options: argparse.Namespace) -> tuple[int, Callable[[], torch.Tensor]]:
    autoencoder, side = build(autoencoder_of, options, options), 8 * options.latents
    images = torch.randint(0, 256, (options.batch, side, side, 3), dtype=torch.uint8, device=options.device)
    return count(autoencoder), lambda: autoencoder.encode(images)


def decode(options: argparse.Namespace) -> tuple[int, Callable[[], torch.Tensor]]:
    autoencoder = build(autoencoder_of, options, options)
    latents = torch.randn(options.batch, 4, options.latents, options.latents, device=options.device)
    return count(autoencoder), lambda: autoencoder.decode(latents)


WAYS = {
    "dual": ("a step: the image UNet with the text transformers, one pass", dual),
    "whole": ("a step: both UNets, a pass for each context", whole),
    "encode": ("autoencoder, encoding", encode),
    "decode": ("autoencoder, decoding", decode),
}


def autoencoder_of(options: argparse.Namespace) -> Autoencoder:
    levels = [options.channels * 2 // 5 // 32 * 32 * k for k in (1, 2, 4, 4)]  # 128 to 512 at the published size
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    return Autoencoder(AutoencoderKL(block_out_channels=levels, layers_per_block=2, latent_channels=4, **kinds))


def build(make: Callable, options: argparse.Namespace, *arguments):
    """A network of random weights made in its own precision, so that memory never holds a second copy."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, options.dtype))
    try:
        with torch.device(options.device):
            model = make(*arguments).eval().requires_grad_(False)
        layout.arrange(model, options.device, getattr(torch, options.dtype))
        return model
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
    levels = [options.channels * k for k in (1, 2, 4, 4)]
    sizes = {"sample_size": options.latents, "block_out_channels": levels}
    return sizes | {"cross_attention_dim": 768, "attention_head_dim": 8}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
