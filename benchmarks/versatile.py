"""One guided step of the dual-context denoiser, against the obvious way: both UNets whole, one pass each, mixed after.

Random weights and inputs. Parameters are counted at the published size; the step is timed at `--channels` (320 is the
published size: 5 GiB and half a minute in float32 on one core). Mixing predictions instead of attention is another
model, so what is checked is that the dual denoiser at text weight 0 is diffusers' own image UNet.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel

from brain_diffuser.diffusion.versatile import DualDenoiser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=64, help="of the first level")
    parser.add_argument("--latents", type=int, default=32, help="side of the latents; 64 is the published size")
    parser.add_argument("--steps", type=int, default=3, help="timed after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype, device = getattr(torch, options.dtype), options.device
    dual_parameters, whole_parameters = count_parameters()
    config = describe(options.channels, options.latents)
    denoiser = DualDenoiser.from_configs(config, config).to(device, dtype).eval()
    image_unet = UNet2DConditionModel(**config).to(device, dtype).eval()
    own = {name.replace(".vision.", "."): tensor for name, tensor in denoiser.unet.state_dict().items()}
    image_unet.load_state_dict({name: own[name] for name in image_unet.state_dict()})
    shapes = ((2, 4, options.latents, options.latents), (2, 77, 768), (2, 257, 768))
    x, text, vision = (torch.randn(shape, device=device) for shape in shapes)
    t = torch.tensor(500, device=device)
    with torch.inference_mode():
        plain = image_unet(x.to(dtype), t, vision.to(dtype)).sample.float()
        error = (denoiser(x, t, text, vision, 0.0) - plain).abs().max().item()
        dual = seconds(lambda: denoiser(x, t, text, vision, 0.4), options)
        apart = seconds(
            lambda: torch.lerp(denoiser(x, t, text, vision, 0.0), denoiser(x, t, text, vision, 1.0), 0.4), options
        )
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {platform.machine()}, {device}, {options.threads} thread(s), {options.dtype}, ")
    out(f"{options.channels} channels, latents of {options.latents}, batch 2 (one picture, guided)\n\n")
    out("| way | parameters, published size | GiB of them | s per step |\n| --- | --- | --- | --- |\n")
    for way, parameters, step in (
        ("image UNet with the text transformers, one pass", dual_parameters, dual),
        ("both UNets, a pass for each context", whole_parameters, apart),
    ):
        out(f"| {way} | {parameters:,} | {parameters * dtype.itemsize / 2**30:.2f} | {step:.3f} |\n")
    out(f"\nlargest difference from diffusers' image UNet at text weight 0: {error:.1e}\n")
    if error > 1e-4:
        sys.exit(1)


def describe(channels: int, latents: int) -> dict:
    levels = [channels, 2 * channels, 4 * channels, 4 * channels]
    return {"sample_size": latents, "block_out_channels": levels, "cross_attention_dim": 768, "attention_head_dim": 8}


def count_parameters() -> tuple[int, int]:
    """Of the dual denoiser, and of both published UNets, without memory for them."""
    image, text = describe(320, 64), {**describe(320, 1), "in_channels": 768, "out_channels": 768}
    with torch.device("meta"):
        dual = DualDenoiser.from_configs(image, text)
        whole = (UNet2DConditionModel(**image), UNetFlatConditionModel(**text))
    return count(dual), sum(map(count, whole))


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def seconds(step: Callable[[], torch.Tensor], options: argparse.Namespace) -> float:
    """Process time on the CPU, which other jobs disturb least; wall time elsewhere."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    step().sum().item()
    start = clock()
    for _ in range(options.steps):
        step().sum().item()
    return (clock() - start) / options.steps


if __name__ == "__main__":
    main()
