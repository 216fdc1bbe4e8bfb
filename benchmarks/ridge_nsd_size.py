"""Time and memory of the ridge stage at the size of NSD subject 1, its result checked against scikit-learn.

Random betas and targets: only their sizes matter. Every job runs in a process of its own, as in the workflow, so that
peak memory is its own. Beside it: the same arithmetic at the speed of plain matrix products, measured in this run (the
kernel as the plain product that it is; ours takes the half of it that symmetry leaves), and scikit-learn's time for one
of the 335 fits that the paper makes. `--scale 0.1` shrinks all sizes alike.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge

N_TRAIN, N_TEST, N_VOXELS = 8859, 982, 15724
FEATURES = {"vdvae": (91168, 50_000.0), "clip_text": (77 * 768, 100_000.0), "clip_vision": (257 * 768, 60_000.0)}
TOKEN = 768  # columns of one of the paper's CLIP fits
N_FITS = 1 + 77 + 257  # scikit-learn fits that the paper makes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--precision", default="float64", choices=["float64", "float32"])
    parser.add_argument("--targets", default="float16", choices=["float32", "float16"])
    parser.add_argument("--rescale", default="test", choices=ridge.RESCALES)
    parser.add_argument("--memory-gib", type=float, default=4.0)
    parser.add_argument("--folder", help="where the targets go; 6.2 GB at full size in float16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sys.stdout.write(json.dumps(measure(Path(folder), options), indent=1) + "\n")


def measure(folder: Path, options: argparse.Namespace) -> dict:
    n_train, n_test, n_voxels = (max(8, round(options.scale * size)) for size in (N_TRAIN, N_TEST, N_VOXELS))
    sizes = {name: round(options.scale * columns) for name, (columns, _) in FEATURES.items()}
    seconds, peak = {}, {}
    alone(write_inputs, folder, n_train, n_test, n_voxels, sizes, options.targets)
    seconds["kernel"], peak["kernel"], _ = alone(make_kernel, folder, options.precision)
    for name in sizes:
        seconds[name], peak[name], _ = alone(predict, folder, name, options.rescale, options.memory_gib)
    seconds["sklearn_one_token"], _, error = alone(fit_one_token, folder, min(TOKEN, sizes["clip_vision"]), options)
    plain = alone(plain_products, n_train, n_test, n_voxels, sum(sizes.values()), options)[2]
    ours = sum(seconds[name] for name in ("kernel", *sizes))
    return {
        "commit": subprocess.run(["git", "describe", "--always"], capture_output=True, encoding="utf-8").stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.getenv('OMP_NUM_THREADS')}",
        "numpy": np.__version__,
        **{key: value for key, value in vars(options).items() if key != "folder"},
        "size": {"train": n_train, "test": n_test, "voxels": n_voxels, **sizes},
        "seconds": {key: round(value, 1) for key, value in seconds.items()},
        "peak_gib": {key: round(value, 2) for key, value in peak.items()},
        "ours_seconds": round(ours, 1),
        "same_operations_as_plain_products_seconds": round(plain, 1),
        "ours_over_plain_products": round(ours / plain, 2),
        "sklearn_per_token_over_ours": round(N_FITS * seconds["sklearn_one_token"] / ours, 1),
        "relative_error_against_sklearn": error,
    }


def alone(job: Callable, *arguments) -> tuple[float, float, object]:
    """Seconds, peak GiB and result of a job in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(timed, job, arguments).result()


def timed(job: Callable, arguments: tuple) -> tuple[float, float, object]:
    started = time.perf_counter()
    result = job(*arguments)
    seconds = time.perf_counter() - started
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return seconds, kib / 2**20, result


def write_inputs(folder: Path, n_train: int, n_test: int, n_voxels: int, sizes: dict[str, int], dtype: str) -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(n_train + n_test, dtype=np.int32)
    for split, rows in (("train", slice(0, n_train)), ("test", slice(n_train, None))):
        betas = rng.standard_normal((len(ids[rows]), n_voxels), np.float32)
        hdf5.save(folder / f"betas_{split}.h5", betas, ids[rows], axes=("voxels",))
    for name, columns in sizes.items():
        chunk = hdf5.feature_chunks(n_train, columns, np.dtype(dtype).itemsize)
        with hdf5.create(
            folder / f"{name}.h5", (n_train, columns), dtype, ids[:n_train], chunk=chunk, by_columns=True
        ) as values:
            for start in range(0, columns, 4096):
                values[:, start : start + 4096] = rng.standard_normal((n_train, min(4096, columns - start)), np.float32)
    os.sync()  # or the disk is still busy with these when ours are written


def make_kernel(folder: Path, precision: str) -> None:
    betas = (hdf5.load(folder / f"betas_{split}.h5") for split in ("train", "test"))
    ridge.save_kernel(folder / "kernel.h5", ridge.kernel(*betas, precision=precision))


def predict(folder: Path, name: str, rescale: str, memory_gib: float) -> None:
    ridge.predict(
        ridge.load_kernel(folder / "kernel.h5"),
        folder / f"{name}.h5",
        folder / f"{name}_test.h5",
        alpha=FEATURES[name][1],
        rescale=rescale,
        memory_gib=memory_gib,
        overwrite_kernel=True,
    )


def fit_one_token(folder: Path, columns: int, options: argparse.Namespace) -> float | None:
    """One token as the paper fits it, on z-scored float64 betas; the relative error of ours against it."""
    train, test = (hdf5.load(folder / f"betas_{split}.h5").values.astype(np.float64) for split in ("train", "test"))
    mean, std = train.mean(0), train.std(0, ddof=1)
    with hdf5.reading(folder / "clip_vision.h5") as (values, _):
        targets = values[:, :columns].astype(np.float64)
    expected = Ridge(alpha=FEATURES["clip_vision"][1]).fit((train - mean) / std, targets).predict((test - mean) / std)
    if options.rescale == "test":
        expected = (expected - expected.mean(0)) / expected.std(0) * targets.std(0) + targets.mean(0)
    with hdf5.reading(folder / "clip_vision_test.h5") as (values, _):
        found = values[:, :columns]
    if options.rescale == "train_oof":
        return None
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def plain_products(n_train: int, n_test: int, n_voxels: int, n_targets: int, options: argparse.Namespace) -> float:
    """Seconds that the stage's arithmetic takes at the rate of numpy's matrix products."""
    every_fold = options.rescale == "train_oof"
    kernels = 2 * n_train * n_voxels * (n_train + n_test)
    solves = len(FEATURES) * n_train**2 * (n_train * (1 if every_fold else 1 / 3) + 2 * n_test)
    streamed = 2 * n_train * (n_test + (n_train if every_fold else 0)) * n_targets
    block = min(2048, n_voxels)
    in_kernels = rate((n_train, block), (block, n_train), options.precision)
    in_stream = rate((n_test, n_train), (n_train, ridge.WIDEST_BLOCK), "float32")
    return (kernels + solves) / in_kernels + streamed / in_stream


def rate(left: tuple[int, int], right: tuple[int, int], dtype: str) -> float:
    """Operations a second of the product of two matrices, the best of three."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32).astype(dtype) for shape in (left, right))
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * left[0] * left[1] * right[1] / best


if __name__ == "__main__":
    main()
