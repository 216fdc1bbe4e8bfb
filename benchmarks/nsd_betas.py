"""CPU-seconds and memory that averaging betas takes, at the size of NSD's subject 1.

    python -m benchmarks.nsd_betas --sessions 1 --gz-level 1

Synthetic sessions (81 x 104 x 83 voxels, 750 trials, int16; a quarter of the volume is brain, the rest 0) are written
to a temporary folder (0.4 GB each per format), then each way of reading them runs in a process of its own:
- gunzip, igzip: GNU's gunzip and isal's own program alone, what they write thrown away;
- decompress: Python's gzip alone;
- nifti, hdf5: `nsd_sessions.average_betas`; nifti_gzip: the same where isal is not installed;
- naive: nibabel's get_fdata and a boolean mask, as the paper's code (10 GB).
The three means must be equal to the last bit.
"""

import argparse
import gzip
import hashlib
import json
import logging
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np

from brain_diffuser.data import nifti, nsd_design, nsd_sessions

logger = logging.getLogger("nsd_betas")

WAYS = ("gunzip", "igzip", "decompress", "nifti", "nifti_gzip", "hdf5", "naive")
PROGRAMS = {"gunzip": ["gunzip", "-c"], "igzip": [sys.executable, "-m", "isal.igzip", "-d", "-c"]}
MASKED = 15_724 / (81 * 104 * 83)  # share of the volume that is nsdgeneral


def write_sessions(folder: Path, n_sessions: int, shape: tuple[int, int, int], gz_level: int) -> None:
    """Sessions in both formats, the mask, and which stimulus each trial shows (3 repeats)."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radius = np.linalg.norm(grid, axis=0)
    brain = radius < np.quantile(radius, 0.25)
    posterior_shell = np.where(brain, radius - 0.5 * grid[1], -np.inf)  # thin and at one side, like visual cortex
    general = posterior_shell > np.quantile(posterior_shell, 1 - MASKED)
    nib.Nifti1Image(general.astype(np.int16), np.eye(4)).to_filename(folder / "nsdgeneral.nii.gz")
    n_trials = n_sessions * nsd_sessions.N_TRIALS
    np.save(folder / "nsd_id.npy", rng.permutation(np.arange(n_trials, dtype=np.int32) // 3))
    nib.openers.Opener.default_compresslevel = gz_level
    for number in range(1, n_sessions + 1):
        volume = np.zeros((nsd_sessions.N_TRIALS, *shape[::-1]), np.int16)
        for trial in volume:
            trial[brain.T] = rng.normal(0, 600, np.count_nonzero(brain))
        stem = folder / f"betas_session{number:02d}"
        nib.Nifti1Image(volume.T, np.eye(4)).to_filename(f"{stem}.nii.gz")
        with h5py.File(f"{stem}.hdf5", "w") as file:
            betas = file.create_dataset("betas", volume.shape, np.int16, chunks=(nsd_sessions.N_TRIALS, 1, 1, 1))
            for z, y, x in np.argwhere(brain.T):  # elsewhere the file reads as 0
                betas[:, z, y, x] = volume[:, z, y, x]


def measure(way: str, folder: Path) -> None:
    """Run one way in this process; write its seconds, peak MiB and the hash of the means to stdout."""
    mask = nifti.read_mask(folder / "nsdgeneral.nii.gz")
    nsd_id = np.load(folder / "nsd_id.npy")
    splits = nsd_design.split_stimuli(nsd_id, np.where(nsd_id % 10 == 0, 1, 1001).astype(np.int32))
    paths = nsd_sessions.find(folder, "all", "hdf5" if way == "hdf5" else "nifti")
    start = cpu_seconds()
    if way in PROGRAMS:
        for path in paths:
            subprocess.run([*PROGRAMS[way], path], stdout=subprocess.DEVNULL, check=True)
        means = []
    elif way == "decompress":
        for path in paths:
            with gzip.open(path) as stream:
                while stream.read(2**20):
                    pass
        means = []
    elif way == "naive":
        trial_betas = np.concatenate([nib.load(path).get_fdata()[mask.selected].T for path in paths])
        means = [
            np.array([trial_betas[trials].sum(0) / (300 * len(trials)) for trials in stimuli.trials], np.float32)
            for stimuli in splits.values()
        ]
    else:
        if way == "nifti_gzip":
            nifti.open_gzip = gzip.open
        means = [rows.values for rows in nsd_sessions.average_betas(paths, mask, splits)[0].values()]
    seconds = cpu_seconds() - start
    peak_kib = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1]
    digest = hashlib.sha256(b"".join(each.tobytes() for each in means)).hexdigest()
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mib": int(peak_kib) / 1024, "sha256": digest}))


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=3, default=(81, 104, 83))
    parser.add_argument("--gz-level", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_sessions(Path(folder), arguments.sessions, tuple(arguments.shape), arguments.gz_level)
        logger.info("%s, Python %s, numpy %s", platform.machine(), platform.python_version(), np.__version__)
        logger.info(
            "%d sessions of %s x 750, gzip level %d, written in %.0f s",
            *(arguments.sessions, arguments.shape, arguments.gz_level, time.perf_counter() - start),
        )
        found: dict[str, list[dict]] = {way: [] for way in arguments.ways}
        for _ in range(arguments.times):
            for way in arguments.ways:
                command = [sys.executable, "-m", "benchmarks.nsd_betas", "--measure", way, folder]
                run = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
                found[way].append(json.loads(run.stdout))
        seconds = {way: statistics.median(each["seconds"] for each in found[way]) for way in found}
        for way, results in found.items():
            all_seconds = [each["seconds"] for each in results]
            logger.info(
                "%-10s %7.2f CPU-s (%.2f to %.2f)  %5.2f x %s  peak %6.0f MiB",
                *(way, seconds[way], min(all_seconds), max(all_seconds), seconds[way] / seconds[arguments.ways[0]]),
                *(arguments.ways[0], max(each["peak_mib"] for each in results)),
            )
    digests = {each["sha256"] for way in found for each in found[way] if way not in (*PROGRAMS, "decompress")}
    if len(digests) > 1:
        raise SystemExit("the ways of averaging differ in their result")


if __name__ == "__main__":
    main()
