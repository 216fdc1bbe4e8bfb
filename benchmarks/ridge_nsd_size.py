"""CPU-seconds and memory of the ridge stage at the size of NSD subject 1, its results checked against scikit-learn.

Betas share a few components over noise, features are mixtures of these with means and spreads of their own. Two
configurations run: the shipped one (float64, leave-one-out rescaling) and the fastest (float32, the paper's rescaling).
Every job runs in a process of its own, as in the workflow, and every way in turn, `--repeats` times; the least counts.
Beside them, in the same run:

- the rate of numpy's matrix products on this machine, and the share of it that the stage reaches;
- scikit-learn's KernelRidge with as many targets in a call as `--targets-gib` of memory holds;
- ten lines of torch with the same targets in memory;
- scikit-learn's Ridge for one of the 335 fits that the paper's program makes;
- betas of more stimuli than voxels, in voxel space and as if there were fewer;
- if `--parts` names it, the products of leave-one-out rescaling in bfloat16, which was tried and not kept.

`--scale 0.15` shrinks all sizes alike and takes a minute or two; the stage's time at NSD's sizes is then estimated from
the share of the peak, which is a little larger there.
"""

import argparse
import json
import math
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
from typing import Any, NamedTuple

import h5py
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge

N_TRAIN, N_TEST, N_VOXELS = 8859, 982, 15724
FEATURES = {"vdvae": (91168, 50_000.0), "clip_text": (77 * 768, 100_000.0), "clip_vision": (257 * 768, 60_000.0)}
TOKEN = 768  # columns of one of the paper's CLIP fits
N_FITS = 1 + 77 + 257  # scikit-learn fits that the paper makes
N_COMPONENTS = 40  # that betas and features share
CONFIGURATIONS = {"shipped": ("float64", "train_oof"), "fastest": ("float32", "test")}
MANY, FEW = 10_000, 1_500  # stimuli and voxels of the betas with more stimuli
PARTS = ["nsd", "more_stimuli", "bfloat16"]
CHECKED = 64  # columns that are compared


class Used(NamedTuple):
    cpu: float
    """CPU-seconds of the job, without the start of its process."""
    gib: float
    """Its peak memory."""
    result: Any
    wall: float


class Size(NamedTuple):
    train: int
    test: int
    voxels: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--configurations", nargs="+", default=list(CONFIGURATIONS), choices=list(CONFIGURATIONS))
    parser.add_argument("--parts", nargs="+", default=["nsd", "more_stimuli"], choices=PARTS)
    parser.add_argument("--targets", default="float16", choices=["float32", "float16"])
    parser.add_argument("--targets-gib", type=float, default=2.0, help="of the targets of one call, in float32")
    parser.add_argument("--memory-gib", type=float, default=4.0)
    parser.add_argument("--folder", help="where the targets go; 6.2 GB at full size in float16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = measure(Path(folder), options) if "nsd" in options.parts else {}
        if "more_stimuli" in options.parts:
            report["more_stimuli_than_voxels"] = more_stimuli(Path(folder), options)
        if "bfloat16" in options.parts:
            report["leave_one_out"] = alone(narrow_rows, options.repeats).result
        sys.stdout.write(json.dumps(report, indent=1) + "\n")


def measure(folder: Path, options: argparse.Namespace) -> dict:
    size = Size(*(max(8, round(options.scale * length)) for length in (N_TRAIN, N_TEST, N_VOXELS)))
    columns = {name: round(options.scale * number) for name, (number, _) in FEATURES.items()}
    together = min(columns["clip_vision"], int(options.targets_gib * 2**28 / size.train))
    alone(write_inputs, folder, *size, columns, options.targets)
    ways: dict[str, tuple] = {"rates": (rates, size)}
    for name in options.configurations:
        precision, rescale = CONFIGURATIONS[name]
        ways[f"{name} kernel"] = (make_kernel, folder, precision)
        for feature in columns:
            ways[f"{name} {feature}"] = (predict, folder, feature, rescale, options.memory_gib, options.scale, name)
    ways["KernelRidge"] = (fit_together, folder, together, options.scale)
    ways["torch"] = (ten_lines_of_torch, folder, together, options.scale)
    ways["Ridge, one token"] = (fit_one_token, folder, min(TOKEN, columns["clip_vision"]), options.scale)
    used: dict[str, list[Used]] = {}
    for _ in range(options.repeats):
        for way, (job, *arguments) in ways.items():
            used.setdefault(way, []).append(alone(job, *arguments))
    cpu = {way: min(each.cpu for each in found) for way, found in used.items()}
    cpu["torch"] = min(each.cpu - each.result for each in used["torch"])  # without loading it
    calls = {name: math.ceil(number / together) for name, number in columns.items()}
    one_call = sum(calls.values()) * cpu["KernelRidge"]
    fastest_rates = {dtype: max(found.result[dtype] for found in used["rates"]) for dtype in ("float32", "float64")}
    report = {
        "commit": subprocess.run(["git", "describe", "--always"], capture_output=True, encoding="utf-8").stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.getenv('OMP_NUM_THREADS')}",
        "numpy": np.__version__,
        **{key: value for key, value in vars(options).items() if key != "folder"},
        "size": {**size._asdict(), **columns},
        "gflop_per_cpu_second": {dtype: round(rate / 1e9) for dtype, rate in fastest_rates.items()},
        "cpu_seconds": {way: round(seconds, 2) for way, seconds in cpu.items() if way != "rates"},
        "wall_seconds": {way: round(min(each.wall for each in found), 2) for way, found in used.items()},
        "peak_gib": {way: round(max(each.gib for each in found), 2) for way, found in used.items()},
    }
    for name in options.configurations:
        precision, rescale = CONFIGURATIONS[name]
        ours = sum(cpu[f"{name} {part}"] for part in ("kernel", *columns))
        products = plain_products(size, sum(columns.values()), precision, rescale, fastest_rates)
        all_columns = sum(number for number, _ in FEATURES.values())
        at_full_size = plain_products(Size(N_TRAIN, N_TEST, N_VOXELS), all_columns, precision, rescale, fastest_rates)
        report[name] = {
            "precision": precision,
            "rescale": rescale,
            "cpu_seconds": round(ours, 1),
            "plain_products_cpu_seconds": round(products, 1),
            "share_of_peak": round(products / ours, 2),
            "cpu_seconds_at_nsd_size_with_this_share": round(at_full_size * ours / products),
            "KernelRidge_calls_over_ours": round(one_call / ours, 2),
            "torch_over_ours": round(cpu["torch"] * sum(columns.values()) / together / ours, 2),
            "sklearn_per_token_over_ours": round(N_FITS * cpu["Ridge, one token"] / ours, 1),
            "relative_error": alone(error, folder, name, rescale, options.scale).result,
        }
    return report


def more_stimuli(folder: Path, options: argparse.Namespace) -> dict:
    """CPU-seconds of kernel and one feature in voxel space, and as if there were fewer stimuli than voxels."""
    n, n_test, p, columns = (max(8, round(options.scale * length)) for length in (MANY, N_TEST, FEW, 20_000))
    alone(write_inputs, folder, n, n_test, p, {"clip_vision": columns}, options.targets)
    found: dict[str, list[Used]] = {}
    for _ in range(options.repeats):
        for rescale in ("test", "train_oof"):
            for space in ("voxels", "stimuli"):
                found.setdefault(f"{space}, {rescale}", []).append(
                    alone(in_space, folder, space, rescale, options.memory_gib, options.scale)
                )
    cpu = {way: min(each.cpu for each in used) for way, used in found.items()}
    return {
        "size": {"train": n, "test": n_test, "voxels": p, "clip_vision": columns},
        "cpu_seconds": {way: round(seconds, 2) for way, seconds in cpu.items()},
        "peak_gib": {way: round(max(each.gib for each in used), 2) for way, used in found.items()},
        **{f"stimuli_over_voxels_{rescale}": round(cpu[f"stimuli, {rescale}"] / cpu[f"voxels, {rescale}"], 1)
           for rescale in ("test", "train_oof")},
        "relative_difference": alone(difference, folder).result,
    }  # fmt: skip


def narrow_rows(repeats: int, n: int = 3000, columns: int = 1024) -> dict:
    """Standard deviations of leave-one-out predictions A y by half of A' A, in float32 by numpy and bfloat16 by torch.

    One thread; the ways in turn, the least counts. Errors are relative, against float64.
    """
    import torch
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    betas, y = rng.standard_normal((n, n + n // 2)), rng.standard_normal((n, columns))
    hat = np.eye(n) - n * np.linalg.inv(betas @ betas.T + n * np.eye(n))
    square = (hat.T @ hat).astype(np.float32)
    true = np.sqrt((y * (square.astype(np.float64) @ y)).sum(0) / n)
    panels = [slice(start, min(start + 512, n)) for start in range(0, n, 512)]
    halves = [square[rows, : rows.stop] * np.where(np.arange(rows.stop) < rows.start, 2, 1) for rows in panels]
    wide = [half.astype(np.float32) for half in halves], y.astype(np.float32)
    narrow = [torch.from_numpy(half).bfloat16() for half in wide[0]], torch.from_numpy(wide[1]).bfloat16()

    def products(matrices: list, targets: Any) -> np.ndarray:
        variance = np.zeros(columns, np.float32)
        for rows, half in zip(panels, matrices, strict=True):
            product = half @ targets[: rows.stop]
            product = product if isinstance(product, np.ndarray) else product.float().numpy()
            variance += np.einsum("ij,ij->j", wide[1][rows], product)
        return variance

    ways, seconds, found = {"float32": wide, "bfloat16": narrow}, {}, {}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for _ in range(1 + repeats):
            for way, given in ways.items():
                started = time.process_time()
                found[way] = products(*given)
                seconds.setdefault(way, []).append(time.process_time() - started)
    errors = {way: np.abs(np.sqrt(variance / n) / true - 1) for way, variance in found.items()}
    return {
        "size": {"train": n, "columns": columns},
        "cpu_seconds": {way: round(min(each[1:]), 3) for way, each in seconds.items()},
        "error_of_std_largest": {way: float(each.max()) for way, each in errors.items()},
        "error_of_std_mean": {way: float(each.mean()) for way, each in errors.items()},
    }


def alone(job: Callable, *arguments: Any) -> Used:
    """What a job uses and returns in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(timed, job, arguments).result()


def timed(job: Callable, arguments: tuple) -> Used:
    started, cpu = time.perf_counter(), time.process_time()
    result = job(*arguments)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Used(cpu, kib / 2**20, result, wall)


def write_inputs(folder: Path, n_train: int, n_test: int, n_voxels: int, sizes: dict[str, int], dtype: str) -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(n_train + n_test, dtype=np.int32)
    strength = np.linspace(1, 0.1, N_COMPONENTS, dtype=np.float32)
    shared = rng.standard_normal((len(ids), N_COMPONENTS), np.float32) * strength

    def mixed(rows: slice, columns: int, noise: float) -> np.ndarray:
        signal = shared[rows] @ rng.standard_normal((N_COMPONENTS, columns), np.float32) * rng.uniform(0, 0.5, columns)
        return signal + noise * rng.standard_normal(signal.shape, np.float32)

    betas = mixed(slice(None), n_voxels, 1.5).astype(np.float32)
    for split, rows in (("train", slice(0, n_train)), ("test", slice(n_train, None))):
        hdf5.save(folder / f"betas_{split}.h5", betas[rows], ids[rows], axes=("voxels",))
    for name, columns in sizes.items():
        chunk = hdf5.feature_chunks(n_train, columns, np.dtype(dtype).itemsize)
        with hdf5.create(
            folder / f"{name}.h5", (n_train, columns), dtype, ids[:n_train], chunk=chunk, by_columns=True
        ) as values:
            for start in range(0, columns, 4096):
                width = min(4096, columns - start)
                block = mixed(slice(0, n_train), width, 0.5) * rng.uniform(0.3, 2, width) + rng.normal(size=width)
                values[:, start : start + width] = block.astype(np.float32)
    os.sync()  # or the disk is still busy with these when ours are written


def make_kernel(folder: Path, precision: str) -> None:
    betas = [hdf5.reading(folder / f"betas_{split}.h5", by_columns=True) for split in ("train", "test")]
    with betas[0] as train, betas[1] as test:
        kernel = ridge.kernel(hdf5.StimulusArray(*train), hdf5.StimulusArray(*test), precision=precision)
    ridge.save_kernel(folder / f"kernel_{precision}.h5", kernel)


def predict(folder: Path, feature: str, rescale: str, memory_gib: float, scale: float, name: str) -> None:
    ridge.predict(
        ridge.load_kernel(folder / f"kernel_{CONFIGURATIONS[name][0]}.h5"),
        folder / f"{feature}.h5",
        folder / f"{feature}_{name}.h5",
        alpha=penalty(feature, scale),
        rescale=rescale,
        memory_gib=memory_gib,
        overwrite_kernel=True,
    )


def in_space(folder: Path, space: str, rescale: str, memory_gib: float, scale: float) -> None:
    if space == "stimuli":
        ridge._of_voxels = ridge._of_stimuli
    betas = [hdf5.load(folder / f"betas_{split}.h5") for split in ("train", "test")]
    path = folder / f"{space}_{rescale}.h5"
    options = {"alpha": penalty("clip_vision", scale), "rescale": rescale, "memory_gib": memory_gib}
    ridge.predict(ridge.kernel(*betas), folder / "clip_vision.h5", path, **options, overwrite_kernel=True)


def penalty(feature: str, scale: float) -> float:
    """The paper's, for as many stimuli as there are."""
    return FEATURES[feature][1] * scale


def z_scored(folder: Path, dtype: Any) -> list[np.ndarray]:
    train, test = (hdf5.load(folder / f"betas_{split}.h5").values.astype(dtype) for split in ("train", "test"))
    mean, std = train.mean(0), train.std(0, ddof=1)
    return [(split - mean) / std for split in (train, test)]


def read_targets(folder: Path, feature: str, columns: int, dtype: Any) -> np.ndarray:
    with h5py.File(folder / f"{feature}.h5") as file:
        return file["values"][:, :columns].astype(dtype)


def fit_together(folder: Path, columns: int, scale: float) -> None:
    """One call of scikit-learn for as many targets as memory holds."""
    train, test = z_scored(folder, np.float32)
    targets = read_targets(folder, "clip_vision", columns, np.float32)
    mean = targets.mean(0)
    KernelRidge(alpha=penalty("clip_vision", scale)).fit(train, targets - mean).predict(test) + mean


def ten_lines_of_torch(folder: Path, columns: int, scale: float) -> float:
    """What an expert would write for as many targets as memory holds; returns CPU-seconds of loading torch."""
    started = time.process_time()
    import torch

    loading = time.process_time() - started
    with torch.no_grad():
        train, test = map(torch.from_numpy, z_scored(folder, np.float32))
        with h5py.File(folder / "clip_vision.h5") as file:
            targets = torch.from_numpy(file["values"][:, :columns]).float()
        system = train @ train.T
        system.diagonal().add_(penalty("clip_vision", scale))
        rows = torch.cholesky_solve(train @ test.T, torch.linalg.cholesky(system)).T
        mean = targets.mean(0)
        predicted = rows @ (targets - mean)
        predicted = (predicted - predicted.mean(0)) / predicted.std(0) * targets.std(0) + mean
        with h5py.File(folder / "torch.h5", "w") as file:
            file["values"] = predicted.numpy()
    return loading


def fit_one_token(folder: Path, columns: int, scale: float) -> None:
    """One token as the paper fits it, on z-scored float64 betas."""
    train, test = z_scored(folder, np.float64)
    targets = read_targets(folder, "clip_vision", columns, np.float64)
    Ridge(alpha=penalty("clip_vision", scale)).fit(train, targets).predict(test)


def error(folder: Path, name: str, rescale: str, scale: float) -> float:
    """Of some columns of our predictions, against scikit-learn and leave-one-out by the textbook's formula."""
    train, test = z_scored(folder, np.float64)
    worst = 0.0
    for feature in FEATURES:
        alpha = penalty(feature, scale)
        targets = read_targets(folder, feature, CHECKED, np.float64)
        mean, std = targets.mean(0), targets.std(0)
        expected = KernelRidge(alpha=alpha).fit(train, targets - mean).predict(test)
        scales = expected
        if rescale == "train_oof":
            system = train @ train.T + alpha * np.eye(len(train))
            hat = np.eye(len(train)) - alpha * np.linalg.inv(system) + 1 / len(train)
            left_out = hat @ targets - np.diag(hat)[:, None] * targets
            scales = left_out / (1 - np.diag(hat))[:, None] - mean
        expected = (expected - scales.mean(0)) / scales.std(0) * std + mean
        with h5py.File(folder / f"{feature}_{name}.h5") as file:
            found = file["values"][:, :CHECKED]
        worst = max(worst, float(np.linalg.norm(found - expected) / np.linalg.norm(expected)))
    return worst


def difference(folder: Path) -> float:
    """The largest between predictions in voxel space and as if there were fewer stimuli than voxels."""
    worst = 0.0
    for rescale in ("test", "train_oof"):
        a, b = (hdf5.load(folder / f"{space}_{rescale}.h5").values for space in ("voxels", "stimuli"))
        worst = max(worst, float(np.linalg.norm(a - b) / np.linalg.norm(b)))
    return worst


def plain_products(size: Size, n_targets: int, precision: str, rescale: str, rates: dict[str, float]) -> float:
    """CPU-seconds that the stage's arithmetic takes at the rate of numpy's matrix products.

    Of what is symmetric a half is counted. Leave-one-out needs the inverse, a product of stimuli x stimuli, and half a
    product with such a matrix for every target.
    """
    n, n_test, n_voxels = size
    solved = n * n_voxels * (n + 2 * n_test) + len(FEATURES) * n**2 * (n / 3 + 2 * n_test)
    streamed = 2 * n * n_test * n_targets
    if rescale == "train_oof":
        solved += len(FEATURES) * 2 / 3 * n**3
        streamed += len(FEATURES) * n**3 + n**2 * n_targets
    return solved / rates[precision] + streamed / rates["float32"]


def rates(size: Size) -> dict[str, float]:
    """Operations a CPU-second of the products of this size in numpy, the best of three, on one core."""
    from threadpoolctl import threadpool_limits

    rng, best = np.random.default_rng(0), {}
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((size.test, size.train), (size.train, 2048)))
    with threadpool_limits(1):
        for dtype in ("float32", "float64"):
            left, right = a.astype(dtype), b.astype(dtype)
            product, seconds = np.empty((len(left), 2048), dtype), []
            for _ in range(3):
                started = time.process_time()
                np.matmul(left, right, out=product)
                seconds.append(time.process_time() - started)
            best[dtype] = 2 * left.size * 2048 / min(seconds)
    return best


if __name__ == "__main__":
    main()
