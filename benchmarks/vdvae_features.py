"""VDVAE features at the published size: the blocks that are features, against the whole posterior decoder cut to them.

Random weights and pictures: only sizes matter. Each way runs in its own process, so that peak memory is its own.
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

from brain_diffuser.vdvae.model import VDVAE, VDVAEConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1, help="timed pictures, one by one, after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the convolutions")
    options = parser.parse_args()
    n_latents, n_blocks = VDVAEConfig.imagenet64.n_latents, 75
    rows = [measure(n, options) for n in (n_blocks, n_latents)]
    equal = np.array_equal(rows[0][0], rows[1][0])
    ratio = rows[0][1] / rows[1][1]
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), {options.dtype}, batch 1\n\n")
    out("| blocks computed | s per picture (CPU) | peak memory, GiB |\n| --- | --- | --- |\n")
    for n, (_, seconds, gib) in zip((n_blocks, n_latents), rows, strict=True):
        out(f"| encoder + {n} | {seconds:.2f} | {gib:.2f} |\n")
    out(f"\n{ratio:.2f} times faster; {rows[0][0].shape[1]} latents {'equal to the bit' if equal else 'DIFFER'}\n")
    if not equal:
        sys.exit(1)


def measure(n_latents: int, options: argparse.Namespace) -> tuple[np.ndarray, float, float]:
    """Feature latents, CPU seconds per picture and peak memory in GiB of a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(extract, n_latents, options.images, options.threads, options.dtype).result()


def extract(n_latents: int, n_images: int, threads: int, dtype: str) -> tuple[np.ndarray, float, float]:
    """The same weights and pictures whatever n_latents is."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = VDVAE(VDVAEConfig.imagenet64)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(getattr(torch, dtype))
    images = torch.randint(0, 256, (n_images + 1, 1, 64, 64, 3), dtype=torch.uint8)
    columns = model.n_columns(model.config.n_latents)
    with torch.inference_mode():
        model.encode_latents(images[0], n_latents)
        start = time.process_time()
        latents = [model.encode_latents(image, n_latents)[:, :columns] for image in images[1:]]
        seconds = (time.process_time() - start) / n_images
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return torch.cat(latents).numpy(), seconds, kib / 2**20


if __name__ == "__main__":
    main()
