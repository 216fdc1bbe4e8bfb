"""Correlations, products and principal components of decoded features at NSD's numbers of stimuli, on random features.

python -m benchmarks.evidence --columns 8192            # of 347,680; time grows with them, memory does not
python -m benchmarks.evidence --columns 8192 --components
"""

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import feature_identification, output_dimensions, similarity

Made = TypeVar("Made")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=8859)
    parser.add_argument("--test", type=int, default=982)
    parser.add_argument("--columns", type=int, default=8192)
    parser.add_argument("--components", action="store_true", help="also principal components, which no column changes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        decoded = write(Path(folder, "decoded.h5"), options.test, 0, options.columns, np.float32)
        true = write(Path(folder, "true.h5"), options.test, 0, options.columns, np.float16)
        train = write(Path(folder, "train.h5"), options.train, options.test, options.columns, np.float16)
        of = timed("correlations", lambda: similarity.correlate(decoded, true, train))
        cluster = np.arange(options.test) % 5
        timed("identification", lambda: feature_identification.identify(of, cluster))
        others = {output_dimensions.TRUE: true, output_dimensions.DECODED: decoded}
        products = timed("products", lambda: output_dimensions.products(train, others))
        if options.components:
            timed("components", lambda: output_dimensions.summarise(products))


def write(path: Path, rows: int, first: int, columns: int, dtype: type[np.generic]) -> Path:
    """A file of random features."""
    rng = np.random.default_rng(first + rows)
    with hdf5.create(path, (rows, columns), dtype, np.arange(first, first + rows), axes=("dim",)) as values:
        for start in range(0, rows, 500):
            n = min(500, rows - start)
            values[start : start + n] = rng.standard_normal((n, columns), dtype=np.float32).astype(dtype)
    return path


def timed(name: str, make: Callable[[], Made]) -> Made:
    """What a function makes; how many CPU-seconds that takes, and the memory at the peak so far."""
    before = sum(os.times()[:2])
    made = make()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stdout.write(f"{name}: {sum(os.times()[:2]) - before:.1f} CPU-s, {peak:.2f} GiB at the peak\n")
    return made


if __name__ == "__main__":
    main()
