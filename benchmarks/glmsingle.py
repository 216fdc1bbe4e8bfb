"""CPU-seconds, seconds and memory that reading GLMsingle's betas takes, in both of its forms.

    python -m benchmarks.glmsingle --shape 80 100 40 --trials 3000

Random betas are written to a temporary folder (4 bytes for each voxel and trial, in each form), then each way of
reading them runs in a process of its own, with the mask's voxels or all of them:
- in_order: the file read from its first byte to its last, which is the least that any reader does;
- python: blocks of trials from Python's file, in which all trials of a voxel lie side by side;
- matlab: blocks of trials from MATLAB's file, in which all voxels of a trial lie side by side.
The mean beta of every trial must be the same for all ways.
"""

import argparse
import hashlib
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from brain_diffuser.data import glmsingle

WAYS = ("in_order", "python", "matlab")
NAMES = {"python": "a.hdf5", "in_order": "a.hdf5", "matlab": "a.mat"}


def write(folder: Path, shape: tuple[int, int, int], n_trials: int, selected: float) -> None:
    """Both forms of the same betas, and a mask."""
    rng = np.random.default_rng(0)
    np.save(folder / "mask.npy", rng.random(shape) < selected)
    with h5py.File(folder / "a.hdf5", "w") as python, h5py.File(folder / "a.mat", "w") as matlab:
        of_python = python.create_dataset("betasmd", (*shape, n_trials), np.float32)
        of_matlab = matlab.create_dataset("modelmd", (n_trials, *shape[::-1]), np.float32)
        for plane in range(shape[0]):
            of_python[plane] = rng.normal(size=(*shape[1:], n_trials)).astype(np.float32)
        for first in range(0, n_trials, 100):
            of_matlab[first : first + 100] = of_python[..., first : first + 100].T


def measure(way: str, folder: Path, is_masked: bool) -> None:
    """Run one way in this process and write what it took."""
    selected = np.load(folder / "mask.npy")
    selected = selected if is_masked else np.ones_like(selected)
    start, cpu = time.perf_counter(), time.process_time()
    digest = ""
    if way == "in_order":
        with open(folder / NAMES[way], "rb") as stream:
            while stream.read(2**24):
                pass
    else:
        with glmsingle.opening(folder / NAMES[way]) as volumes:
            blocks = list(block.mean(1, dtype=np.float64) for block in volumes.blocks(selected))
        digest = hashlib.sha256(np.concatenate(blocks).round(9).tobytes()).hexdigest()[:12]
    used = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "means": digest}
    used["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    sys.stdout.write(json.dumps(used))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(80, 100, 40))
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--selected", type=float, default=0.05, help="the share of voxels that the mask selects")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--all-voxels", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        measure(options.ways[0], options.folder, not options.all_voxels)
        return
    with tempfile.TemporaryDirectory() as folder:
        # A process has at least the peak memory of the one that starts it, so this one writes nothing itself.
        arguments = Path(folder), tuple(options.shape), options.trials, options.selected
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(write, arguments)
        size = Path(folder, "a.hdf5").stat().st_size
        sys.stdout.write(
            f"{size / 2**30:.1f} GiB\n| way | voxels | seconds | CPU-seconds | MiB |\n| --- | --- | --- | --- | --- |\n"
        )
        for more in ([], ["--all-voxels"]):
            means = set()
            for way in options.ways:
                called = [sys.executable, "-m", "benchmarks.glmsingle", "--ways", way, "--folder", folder, *more]
                used = json.loads(subprocess.run(called, capture_output=True, encoding="utf-8", check=True).stdout)
                means |= {used["means"]} - {""}
                voxels = "all" if more else f"{options.selected:.0%}"
                sys.stdout.write(
                    f"| {way} | {voxels} | {used['seconds']:.1f} | {used['cpu']:.1f} | {used['mib']:.0f} |\n"
                )
            if len(means) > 1:
                sys.exit("the ways differ in the mean beta of a trial")


if __name__ == "__main__":
    main()
