"""Thirteen synthetic responses through the ridge of NSD subject 1, without weights and, for one token, with them.

Random betas, targets and regions: only their sizes matter. Ours is the kernel's rows of the patterns and their
predictions with the pipeline's rescaling, each job in a process of its own. Instead: the weights of every one of the
paper's 335 fits by scikit-learn, of which one is made, timed and compared; their bytes follow from their number.
`--scale 0.1` shrinks all sizes alike.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from benchmarks.ridge_nsd_size import (
    FEATURES,
    N_FITS,
    N_TEST,
    N_TRAIN,
    N_VOXELS,
    TOKEN,
    alone,
    make_kernel,
    write_inputs,
)  # fmt: skip
from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge

N_PATTERNS, REGION = 13, 900  # voxels of a region


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--precision", default="float64", choices=["float64", "float32"])
    parser.add_argument("--rescale", default="train_oof", choices=["none", "train_oof"])
    parser.add_argument("--folder", help="where the targets go; 6.2 GB at full size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sys.stdout.write(json.dumps(measure(Path(folder), options), indent=1) + "\n")


def measure(folder: Path, options: argparse.Namespace) -> dict:
    n_train, n_test, n_voxels = (max(16, round(options.scale * size)) for size in (N_TRAIN, N_TEST, N_VOXELS))
    sizes = {name: round(options.scale * columns) for name, (columns, _) in FEATURES.items()}
    alone(write_inputs, folder, n_train, n_test, n_voxels, sizes, "float16")
    alone(make_kernel, folder, options.precision)
    found = {name: alone(predict, folder, name, options.rescale, options.precision)[:2] for name in sizes}
    alone(predict, folder, "clip_vision", "none", options.precision)
    with_weights, peak, error, _ = alone(fit_one_token, folder, min(TOKEN, sizes["clip_vision"]))
    ours = sum(seconds for seconds, _ in found.values())
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{key: value for key, value in vars(options).items() if key != "folder"},
        "size": {"patterns": N_PATTERNS, "train": n_train, "voxels": n_voxels, **sizes},
        "cpu_seconds": {name: round(seconds, 1) for name, (seconds, _) in found.items()},
        "peak_gib": {name: round(gib, 2) for name, (_, gib) in found.items()},
        "ours_cpu_seconds": round(ours, 1),
        "sklearn_one_token_cpu_seconds": round(with_weights, 1),
        "sklearn_one_token_peak_gib": round(peak, 2),
        "all_weights_gb_float32": round(4e-9 * n_voxels * sum(sizes.values()), 1),
        "sklearn_per_token_over_ours": round(N_FITS * with_weights / ours, 1),
        "relative_error_against_weights": error,
    }


def patterns(n_voxels: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.zeros((N_PATTERNS, n_voxels), np.float32)
    for row in found:
        row[rng.choice(n_voxels, min(REGION, n_voxels // 2), replace=False)] = 1
    return found


def predict(folder: Path, name: str, rescale: str, precision: str) -> None:
    kernel = ridge.load_kernel(folder / f"kernel_{precision}.h5")
    with hdf5.reading(folder / "betas_train.h5", by_columns=True) as train:
        rows = ridge.cross_kernel(kernel, hdf5.StimulusArray(*train), patterns(train[0].shape[1]), standardised=True)
    ridge.predict(
        kernel._replace(test=rows, test_id=np.zeros(N_PATTERNS, np.int32)),
        folder / f"{name}.h5",
        folder / f"{name}_{rescale}.h5",
        alpha=FEATURES[name][1],
        rescale=rescale,
        overwrite_kernel=True,
    )


def fit_one_token(folder: Path, columns: int) -> float:
    """The relative error of what the patterns change, ours against a pattern times weights."""
    train = hdf5.load(folder / "betas_train.h5").values.astype(np.float64)
    train = (train - train.mean(0)) / train.std(0, ddof=1)
    with hdf5.reading(folder / "clip_vision.h5") as (values, _):
        targets = values[:, :columns].astype(np.float64)
    weights = Ridge(alpha=FEATURES["clip_vision"][1]).fit(train, targets).coef_
    expected = patterns(train.shape[1]) @ weights.T
    with hdf5.reading(folder / "clip_vision_none.h5") as (values, _):
        found = values[:, :columns] - targets.mean(0)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    main()
