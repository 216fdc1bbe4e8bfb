"""CPU-seconds and memory that reading a session of LAION-fMRI takes, at its full size: 12.3 GB of float32.

    python -m benchmarks.laion_betas

A session (143 x 143 x 143 voxels, 1,055 trials) is written to a temporary folder, volume by volume through gzip: a
quarter of the volume is head, with beta-like values of another mean, spread and response to each image in every voxel,
the rest is NaN, as GLMsingle leaves it. That takes about 3 GB. Then each way of reading runs in a process of its own:
- gunzip, igzip: GNU's gunzip and isal's own program alone, what they write thrown away;
- betas: `trial_betas.average_betas`, z-scored within the session, means of 770 images in 15,724 voxels (nsdgeneral).
The means are compared with those of the values that were written.
"""

import argparse
import json
import logging
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

from benchmarks.nsd_betas import PROGRAMS, cpu_seconds
from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import nifti, stimulus_table, trial_betas

logger = logging.getLogger("laion_betas")

WAYS = ("gunzip", "igzip", "betas")
N_VOXELS, N_IMAGES = 15_724, 770
SIDE, N_TRIALS = 143, 1055


def write_session(folder: Path, side: int, n_trials: int, n_voxels: int) -> int:
    """The betas of a session, the mask, and the masked values alone. Returns the bytes of the session, inflated."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for _ in range(3)), indexing="ij"))
    radius = np.linalg.norm(grid, axis=0)
    head = np.flatnonzero((radius < np.quantile(radius, 0.25)).ravel(order="F"))
    chosen = np.sort(rng.choice(len(head), min(n_voxels, len(head)), replace=False))
    mask = np.zeros(side**3, np.uint8)
    mask[head[chosen]] = 1
    nib.Nifti1Image(mask.reshape((side,) * 3, order="F"), np.eye(4)).to_filename(folder / "mask.nii.gz")
    image = stimuli(n_trials)
    mean, spread = rng.normal(0.5, 0.5, (2, len(head))).astype(np.float32)
    header = nib.Nifti1Header()
    header.set_data_shape((side, side, side, n_trials))
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.eye(4), 1)
    volume = np.full(side**3, np.nan, np.float32)
    masked = np.empty((n_trials, len(chosen)), np.float32)
    with igzip.open(folder / "betas.nii.gz", "wb", compresslevel=1) as stream:
        stream.write(header.binaryblock + bytes(4))
        for trial in range(n_trials):
            response = np.random.default_rng([1, image[trial]]).standard_normal(len(head), np.float32)
            noise = rng.standard_normal(len(head), np.float32)
            volume[head] = mean + (0.2 + np.abs(spread)) * (0.5 * response + noise)
            masked[trial] = volume[head[chosen]]
            stream.write(volume.tobytes())
    order = np.ravel_multi_index(np.nonzero(mask.reshape((side,) * 3, order="F")), (side,) * 3, order="F")
    np.save(folder / "masked.npy", masked[:, np.searchsorted(head[chosen], order)])  # in C order, as betas are
    return 352 + 4 * volume.size * n_trials


def stimuli(n_trials: int) -> np.ndarray:
    """The image of each trial: each once, then the first ones again."""
    return np.random.default_rng(2).permutation(np.arange(n_trials) % min(N_IMAGES, n_trials * 3 // 4)).astype(np.int32)


def splits(n_trials: int) -> dict[str, stimulus_table.Stimuli]:
    image = stimuli(n_trials)
    is_test = image % 5 == 0
    return {
        name: stimulus_table.group_trials(image, np.flatnonzero(rows))
        for name, rows in (("train", ~is_test), ("test", is_test))
    }


def measure(way: str, folder: Path, n_trials: int) -> None:
    """Run one way in this process; write its seconds and peak MiB to stdout, and the means to the folder."""
    start, clock, found = cpu_seconds(), time.perf_counter(), {}
    if way in PROGRAMS:
        subprocess.run([*PROGRAMS[way], folder / "betas.nii.gz"], stdout=subprocess.DEVNULL, check=True)
    else:
        session = trial_betas.Session(folder / "betas.nii.gz", ["1"] * n_trials)
        mask = nifti.read_mask(folder / "mask.nii.gz")
        found = trial_betas.average_betas([session], mask, splits(n_trials), trial_betas.Rules()).betas
    seconds, wall = cpu_seconds() - start, time.perf_counter() - clock
    peak_kib = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1]
    for name, rows in found.items():
        hdf5.save(folder / f"{name}.h5", *rows)
    sys.stdout.write(json.dumps({"seconds": seconds, "wall": wall, "peak_mib": int(peak_kib) / 1024}))


def check(folder: Path, n_trials: int) -> float:
    """The largest deviation of the means from those of the values that were written."""
    betas, largest = np.load(folder / "masked.npy").astype(np.float64), 0.0
    betas = (betas - betas.mean(0)) / betas.std(0)
    for name, each in splits(n_trials).items():
        expected = np.stack([betas[trials].mean(0) for trials in each.trials])
        found = hdf5.load(folder / f"{name}.h5").values
        assert found.shape == expected.shape
        largest = max(largest, float(abs(found - expected).max()))
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=N_TRIALS)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--voxels", type=int, default=N_VOXELS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]), arguments.trials)
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), time.perf_counter()
        n_bytes = write_session(folder, arguments.side, arguments.trials, arguments.voxels)
        size = (folder / "betas.nii.gz").stat().st_size
        logger.info("%s, Python %s, numpy %s", platform.machine(), platform.python_version(), np.__version__)
        logger.info(
            "%d^3 voxels x %d trials: %.1f GB, compressed %.2f GB, written in %.0f s",
            *(arguments.side, arguments.trials, n_bytes / 1e9, size / 1e9, time.perf_counter() - start),
        )
        found: dict[str, list[dict]] = {way: [] for way in arguments.ways}
        for _ in range(arguments.times):
            for way in arguments.ways:
                command = [sys.executable, "-m", "benchmarks.laion_betas", "--trials", str(arguments.trials)]
                run = subprocess.run(
                    [*command, "--measure", way, name], check=True, capture_output=True, encoding="utf-8"
                )
                found[way].append(json.loads(run.stdout))
        for way, results in found.items():
            cpu, wall = (statistics.median(each[key] for each in results) for key in ("seconds", "wall"))
            first = statistics.median(each["seconds"] for each in found[arguments.ways[0]])
            peak = max(each["peak_mib"] for each in results)
            logger.info(
                "%-8s %7.1f CPU-s  %7.1f s  %5.2f x %s  peak %5.0f MiB",
                *(way, cpu, wall, cpu / first, arguments.ways[0], peak),
            )
        if "betas" in arguments.ways:
            logger.info(
                "the means differ by %.1e at most from those of what was written", check(folder, arguments.trials)
            )


if __name__ == "__main__":
    main()
