"""CPU-seconds and memory of the curve over dimensions of the betas at the size of NSD subject 1.

    python -m benchmarks.bottleneck --scale 0.5 --share 0.1

Betas share a few components over noise, features are mixtures of these. `--scale` shrinks stimuli and voxels, `--share`
the columns of all features (347,680). Each part runs in a process of its own, as in the workflow: the maps, and the
scores. Both are measured with 64 columns of each feature, too, so that the time of all columns at this number of
stimuli follows: `cpu_seconds_of_all_columns`. The ridge's map is checked against a Cholesky solution, and scores of
some columns against stored predictions.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.ridge_nsd_size import FEATURES, N_TEST, N_TRAIN, N_VOXELS, alone, make_kernel, write_inputs
from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import bottleneck, ridge
from brain_diffuser.evaluation import bottleneck_curve, linear_maps, statistics

ALPHA = 60_000.0
FEW = 64  # columns of each feature
RANKS = [1, 2, 5, 10, 20, 50, 100, 200, 500]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--precision", default="float64", choices=["float64", "float32"])
    parser.add_argument("--folder", help="where the inputs go; 6.2 GB with all columns at full size")
    options = parser.parse_args()
    size = [max(20, round(options.scale * length)) for length in (N_TRAIN, N_TEST, N_VOXELS)]
    columns = {name: max(64, round(options.share * number)) for name, (number, _) in FEATURES.items()}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        used = {}
        for which, number in (("few", dict.fromkeys(FEATURES, FEW)), ("all", columns)):
            alone(write_inputs, folder, *size, number, "float16")
            alone(write_test, folder, size[1], number)
            alone(make_kernel, folder, options.precision)
            for part in (maps, scores):
                used[part.__name__, which] = alone(part, folder, options.precision, options.scale)
        error = alone(errors, folder, options.precision, options.scale).result
    cpu = {part: used[part, "all"].cpu for part in ("maps", "scores")}
    n_columns, n_few = sum(columns.values()), FEW * len(FEATURES)
    each = {part: max(0.0, cpu[part] - used[part, "few"].cpu) / max(1, n_columns - n_few) for part in cpu}
    n_more = sum(number for number, _ in FEATURES.values()) - n_columns
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.getenv('OMP_NUM_THREADS')}",
        **{key: value for key, value in vars(options).items() if key != "folder"},
        "size": dict(zip(("train", "test", "voxels"), size, strict=True)) | columns,
        "cpu_seconds": {part: round(seconds, 1) for part, seconds in cpu.items()},
        "wall_seconds": {part: round(used[part, "all"].wall, 1) for part in cpu},
        "peak_gib": {part: round(used[part, "all"].gib, 2) for part in cpu},
        "cpu_seconds_of_all_columns": {part: round(cpu[part] + each[part] * n_more, 1) for part in cpu},
        "errors": error,
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def write_test(folder: Path, n_test: int, columns: dict[str, int]) -> None:
    """True features of test stimuli: any numbers take as long."""
    rng = np.random.default_rng(1)
    with hdf5.reading(folder / "betas_test.h5") as (_, ids):
        for name, number in columns.items():
            hdf5.save(folder / f"{name}_test.h5", rng.standard_normal((n_test, number), np.float32), ids, axes=("dim",))


def maps(folder: Path, precision: str, scale: float) -> None:
    kernel = ridge.load_kernel(folder / f"kernel_{precision}.h5")
    features = {name: folder / f"{name}.h5" for name in FEATURES}
    options = {"alpha": ALPHA * scale, "most": max(RANKS), "weights": "equal", "share": 1.0, "seed": 0}
    bottleneck.save(folder / "maps.h5", bottleneck.make(kernel, features, **options), ALPHA * scale)


def scores(folder: Path, precision: str, scale: float) -> None:
    features = {name: (folder / f"{name}.h5", folder / f"{name}_test.h5") for name in FEATURES}
    rows, dimensions = bottleneck_curve.score(bottleneck.load(folder / "maps.h5"), features, RANKS, 1000, 0)
    (folder / "bottleneck").mkdir(exist_ok=True)
    bottleneck_curve.write(folder / "bottleneck", rows, dimensions, "benchmark", ALPHA * scale)


def errors(folder: Path, precision: str, scale: float) -> dict[str, float]:
    """Of the ridge's map, relative, and of scores, at most."""
    basis = bottleneck.load(folder / "maps.h5")
    rows = ridge.rows_of_test(ridge.load_kernel(folder / f"kernel_{precision}.h5"), ALPHA * scale)
    paths = folder / "clip_text.h5", folder / "clip_text_test.h5"
    with hdf5.reading(paths[0]) as (values, _), hdf5.reading(paths[1]) as (test, _):
        kept = np.arange(values.shape[1]) < 64
        y = values[:, :64].astype(float)
        true = test[:, :64].astype(float) - y.mean(0)
    found = linear_maps.sums(bottleneck_curve.maps_of(basis), *paths, basis.train_id, basis.test_id, kept)
    made = basis.bottleneck_left[:, :20].astype(float) @ (basis.bottleneck_right[:20] @ (y - y.mean(0)))
    expected = np.diagonal(statistics.correlation_matrix(made, true))
    scored = linear_maps.scores(found["bottleneck"], basis.bottleneck_left, 20)["correlation"]
    return {
        "ridge": float(np.linalg.norm(basis.ridge - rows) / np.linalg.norm(rows)),
        "scores": float(np.abs(scored - expected).max()),
    }


if __name__ == "__main__":
    main()
