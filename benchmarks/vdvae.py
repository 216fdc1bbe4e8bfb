"""VDVAE at the published size, features and decoding, beside the authors' program and one line of autocast.

    python -m benchmarks.vdvae                   # one thread; batches of one image, as a processor's 16 bits take them
    python -m benchmarks.vdvae --batch 4         # those of `compute.batch_size: auto` on a processor in float32

Random weights, images and latents. The authors' program computes the posterior of all 75 blocks, of which it keeps 31,
and decodes in float32 with the arithmetic of ours; what an expert would write for 16 bits is their program under
torch's autocast. Ways of the same work run in turn, in one process, and every figure is the median of the repeats.
Checked: features in float32 have the same bits as those of all blocks. Stated: how far 16 bits are from float32. Peak
memory is that of a process of its own.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch

from benchmarks import timing
from brain_diffuser.generation.vdvae_stage import decode_batch
from brain_diffuser.models import layout
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig, parse_blocks

FEATURES = {
    "features": ("features, ours", "float32"),
    "features16": ("features, ours", "bfloat16"),
    "whole": ("features as in the authors' program, all blocks", "float32"),
    "whole16": ("the same under autocast", "bfloat16"),
}
DECODING = {
    "decode": ("decoding, ours and the authors'", "float32"),
    "decode16": ("decoding, ours", "bfloat16"),
    "decode_autocast": ("decoding under autocast", "bfloat16"),
}
WAYS = FEATURES | DECODING
SIZES = {
    "imagenet64": VDVAEConfig.imagenet64,
    "small": VDVAEConfig("8x1,8d2,4x1,4d4,1x1", "1x1,4m1,4x1,8m4,8x1", width=32, image_size=8, n_latents=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--repeats", type=int, default=3, help="timed after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", default="imagenet64", choices=list(SIZES))
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), {options.size}, ")
    out(f"batch {options.batch}, median of {options.repeats}\n\n")
    out("| what | precision | CPU-s an image | share of the peak | beside ours, float32 | peak memory, GiB |\n")
    out("| --- | --- | --- | --- | --- | --- |\n")
    notes = []
    for group in (FEATURES, DECODING):
        rows, far = timing.alone(measure, list(group), options)
        first = next(iter(rows.values()))
        for way, row in rows.items():
            name, dtype = WAYS[way]
            ratio, gib = row.seconds / first.seconds, timing.alone(peak_memory, way, options)
            out(f"| {name} | {dtype} | {row.seconds:.2f} | {row.share:.2f} | {ratio:.2f} x | {gib:.2f} |\n")
        notes += [f"{WAYS[way][0]}, {WAYS[way][1]}: {text}" for way, text in far.items()]
    out("\nBeside float32: " + "; ".join(notes) + ".\n")


def measure(ways: list[str], options: argparse.Namespace) -> tuple[dict[str, timing.Row], dict[str, str]]:
    """Seconds and share of the peak of each way, in turn, and how far those of 16 bits are from the first."""
    torch.set_num_threads(options.threads)
    far = {}

    def check(outputs: dict[str, np.ndarray]) -> None:
        first = outputs[ways[0]]
        if "whole" in ways and not np.array_equal(outputs["whole"][:, : first.shape[1]], first):
            sys.exit("the features of the first blocks differ from those of all blocks")
        far.update({way: distance(first, outputs[way]) for way in ways if WAYS[way][1] == "bfloat16"})

    timed = {way: timing.Way(run_of(way, options), WAYS[way][1], options.batch) for way in ways}
    return timing.in_turn(timed, options.repeats, check=check), far


def peak_memory(way: str, options: argparse.Namespace) -> float:
    """GiB that a way takes at most."""
    torch.set_num_threads(options.threads)
    run_of(way, options)()
    return timing.peak_gib()


def distance(first: np.ndarray, other: np.ndarray) -> str:
    """How far an output is from that in float32: grey levels of images, the norm of features."""
    if first.dtype == np.uint8:
        return f"{np.abs(first.astype(int) - other).mean():.2f} grey levels"
    return f"{np.linalg.norm(other[:, : first.shape[1]] - first) / np.linalg.norm(first):.1e} of the norm"


def run_of(way: str, options: argparse.Namespace) -> Callable[[], np.ndarray]:
    """What a way runs; the same weights, images and latents whatever the way."""
    torch.manual_seed(0)
    config = SIZES[options.size]
    model = VDVAE(config).eval().requires_grad_(False)
    side, columns = config.image_size, model.n_columns(config.n_latents)
    images = torch.randint(0, 256, (options.batch, side, side, 3), dtype=torch.uint8)
    latents, ids = torch.randn(options.batch, columns).numpy(), np.arange(options.batch, dtype=np.int32)
    if way in ("features16", "decode16"):
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.to(torch.bfloat16)
        layout.arrange(model, "cpu", torch.bfloat16)
    is_cast = way in ("whole16", "decode_autocast")
    n_latents = len(parse_blocks(config.dec_blocks, "m")) if way.startswith("whole") else config.n_latents

    @torch.inference_mode()
    def run() -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16) if is_cast else nullcontext():
            if way.startswith("decode"):
                return decode_batch(latents, ids, model, 0, "mode", 1.0)
            return model.encode_latents(images, n_latents).float().numpy()

    return run


if __name__ == "__main__":
    main()
