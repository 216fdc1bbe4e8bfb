"""Time and memory of the ridge stage at the size of NSD subject 1, its result checked against scikit-learn.

Random betas and targets: only their sizes matter. `--scale 0.1` shrinks stimuli, voxels and targets alike.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from brain_diffuser import arrays, ridge

N_TRAIN, N_TEST, N_VOXELS = 8859, 982, 15724
FEATURES = {"vdvae": (91168, 50_000.0), "clip_text": (77 * 768, 100_000.0), "clip_vision": (257 * 768, 60_000.0)}
TOKEN = 768  # columns of one of the paper's CLIP fits
N_FITS = 1 + 77 + 257  # scikit-learn fits that the paper makes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--precision", default="float64", choices=["float64", "float32"])
    parser.add_argument("--targets", default="float32", choices=["float32", "float16"])
    parser.add_argument("--rescale", default="test", choices=ridge.RESCALES)
    parser.add_argument("--memory-gib", type=float, default=4.0)
    parser.add_argument("--folder", help="where the targets go; 12.3 GB at full size in float32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sys.stdout.write(json.dumps(measure(Path(folder), options), indent=1) + "\n")


def measure(folder: Path, options: argparse.Namespace) -> dict:
    n_train, n_test, n_voxels = (max(8, round(options.scale * size)) for size in (N_TRAIN, N_TEST, N_VOXELS))
    rng = np.random.default_rng(0)
    ids = np.arange(n_train + n_test, dtype=np.int32)
    betas = rng.standard_normal((n_train + n_test, n_voxels), np.float32)
    train, test = arrays.Rows(betas[:n_train], ids[:n_train]), arrays.Rows(betas[n_train:], ids[n_train:])
    sizes = {name: round(options.scale * columns) for name, (columns, _) in FEATURES.items()}
    for name, columns in sizes.items():
        with arrays.create(folder / f"{name}.h5", (n_train, columns), options.targets, train.nsd_id) as values:
            for start in range(0, columns, 4096):
                block = rng.standard_normal((n_train, min(4096, columns - start)), np.float32)
                values[:, start : start + 4096] = block

    seconds = {}
    started = time.perf_counter()
    factor = ridge.factorise(train, test, precision=options.precision)
    seconds["factorise"] = time.perf_counter() - started
    peak = {"factorise": peak_gib()}
    for name in sizes:
        started = time.perf_counter()
        ridge.predict(
            factor,
            folder / f"{name}.h5",
            folder / f"{name}_test.h5",
            alpha=FEATURES[name][1],
            rescale=options.rescale,
            memory_gib=options.memory_gib,
        )
        seconds[name] = time.perf_counter() - started
    peak["predict"] = peak_gib()

    # One token as the paper fits it, on z-scored float64 betas.
    z_train, z_test = ((rows.values - factor.betas_mean) / factor.betas_std for rows in (train, test))
    columns, alpha = min(TOKEN, sizes["clip_vision"]), FEATURES["clip_vision"][1]
    with arrays.reading(folder / "clip_vision.h5") as (values, _):
        targets = values[:, :columns].astype(np.float64)
    started = time.perf_counter()
    expected = Ridge(alpha=alpha).fit(z_train, targets).predict(z_test)
    seconds["sklearn_one_token"] = time.perf_counter() - started
    if options.rescale == "test":
        expected = (expected - expected.mean(0)) / expected.std(0) * targets.std(0) + targets.mean(0)
    with arrays.reading(folder / "clip_vision_test.h5") as (values, _):
        found = values[:, :columns]

    ours = sum(seconds[name] for name in ("factorise", *sizes))
    streamed = 2e-9 * n_train * (n_test + (n_train if options.rescale == "train_oof" else 0)) * sum(sizes.values())
    return {
        "commit": subprocess.run(["git", "describe", "--always"], capture_output=True, text=True).stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.getenv('OMP_NUM_THREADS')}",
        "numpy": np.__version__,
        **{key: value for key, value in vars(options).items() if key != "folder"},
        "size": {"train": n_train, "test": n_test, "voxels": n_voxels, **sizes},
        "seconds": {key: round(value, 2) for key, value in seconds.items()},
        "ours_seconds": round(ours, 2),
        "peak_gib": peak,
        "streaming_gflop_per_second": round(streamed / sum(seconds[name] for name in sizes)),
        "sklearn_per_token_over_ours": round(N_FITS * seconds["sklearn_one_token"] / ours, 1),
        "relative_error_against_sklearn": None
        if options.rescale == "train_oof"
        else float(np.linalg.norm(found - expected) / np.linalg.norm(expected)),
    }


def peak_gib() -> float:
    """Largest resident size of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
