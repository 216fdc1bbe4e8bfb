"""VDVAE at the published size: features from the blocks that hold them, and decoding, in float32 and bfloat16.

    python benchmarks/vdvae.py --images 4 --threads 2

Random weights and images: only sizes matter. The whole posterior decoder, cut to the same latents, is what a user
would run otherwise; it must give equal bits. The errors of bfloat16 convolutions are stated beside their speed. Each
way runs in its own process, so that peak memory is its own.
"""

import argparse
import multiprocessing
import platform
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from brain_diffuser.generation.vdvae_stage import decode_batch
from brain_diffuser.models import layout
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig

N_BLOCKS = 75
WAYS = {
    "whole": "features, encoder and all 75 blocks, float32",
    "features": "features, encoder and 31 blocks, float32",
    "features16": "features, encoder and 31 blocks, bfloat16",
    "decode": "decoding, float32",
    "decode16": "decoding, bfloat16",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2, help="timed images, one by one, after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), batch 1\n\n")
    out("| what | CPU-s an image | images a minute | peak memory, GiB |\n| --- | --- | --- | --- |\n")
    found = {}
    for way, description in WAYS.items():
        found[way], cpu, wall, gib = alone(way, options.images, options.threads)
        out(f"| {description} | {cpu:.2f} | {60 / wall:.1f} | {gib:.2f} |\n")
    latents, narrow = found["features"], found["features16"]
    error = np.linalg.norm(narrow - latents) / np.linalg.norm(latents)
    levels = np.abs(found["decode16"].astype(int) - found["decode"])
    out(f"\nbfloat16: latents differ by {error:.1e} of their norm, images by {levels.mean():.2f} grey levels\n")
    if not np.array_equal(found["whole"], latents):
        sys.exit("the latents of 31 blocks differ from those of all 75")


def alone(way: str, n_images: int, threads: int) -> tuple[np.ndarray, float, float, float]:
    """Result, CPU seconds and seconds per image, and peak memory in GiB of a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, way, n_images, threads).result()


def measure(way: str, n_images: int, threads: int) -> tuple[np.ndarray, float, float, float]:
    """The same weights, images and latents whatever the way."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = VDVAE(VDVAEConfig.imagenet64)
    n_latents = model.config.n_latents
    columns = model.n_columns(n_latents)
    images = torch.randint(0, 256, (n_images + 1, 1, 64, 64, 3), dtype=torch.uint8)
    latents = torch.randn(n_images + 1, 1, columns).numpy()
    if way.endswith("16"):
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.to(torch.bfloat16)
        layout.arrange(model, "cpu", torch.bfloat16)

    def one(index: int) -> np.ndarray:
        if way.startswith("decode"):
            return decode_batch(latents[index], np.array([index], np.int32), model, 0, "mode", 1.0)
        with torch.inference_mode():
            rows = model.encode_latents(images[index], N_BLOCKS if way == "whole" else n_latents)
        return rows[:, :columns].numpy()

    one(0)
    cpu, wall = time.process_time(), time.perf_counter()
    results = [one(index) for index in range(1, n_images + 1)]
    cpu, wall = ((now - then) / n_images for now, then in ((time.process_time(), cpu), (time.perf_counter(), wall)))
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return np.concatenate(results), cpu, wall, kib / 2**20


if __name__ == "__main__":
    main()
