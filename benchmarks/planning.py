"""Planning a run of all of NSD: time and memory of `snakemake -n` for every subject and eight variants in real shards.

The tree of files is empty but for the design, which is random in the published shape: planning reads nothing else.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from scipy.io import savemat

from brain_diffuser import sessions

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--profile", help="a folder below profiles; default otherwise")
    options = parser.parse_args()
    subjects = [f"sub{number:02d}" for number in range(1, options.subjects + 1)]
    with tempfile.TemporaryDirectory() as folder:
        checkout = write(Path(folder), subjects)
        targets = ["all", *(f"results_nsd/{each}/ablations" for each in subjects)]
        profile = ["--workflow-profile", f"profiles/{options.profile}"] if options.profile else []
        command = [sys.executable, "-m", "snakemake", "-n", *profile, "--configfile", "config.paper.yaml", "all.yaml"]
        for _ in range(options.times):
            started = time.perf_counter()
            run = subprocess.run([*command, "--", *targets], cwd=checkout, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - started
            if run.returncode:
                sys.exit(run.stderr + run.stdout)
            n_jobs = re.findall(r"^total +(\d+)$", run.stdout + run.stderr, re.M)[0]
            mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            sys.stdout.write(f"{n_jobs} jobs, {seconds:.1f} s, {mib:.0f} MiB at the peak\n")


def write(folder: Path, subjects: list[str]) -> Path:
    """A folder to plan in: links to the project's files, a configuration, and empty files where data would lie."""
    for path in ROOT.iterdir():
        if path.name not in ("results", "data", ".snakemake"):
            (folder / path.name).symlink_to(path)
    nsd = {"atlases": CONFIG["nsd"]["rois"], "betas": CONFIG["nsd"]["betas"]}
    root = folder / "data/nsd"
    paths = [root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", root / "COCO_73k_annots_curated.npy"]
    for number, n_sessions in zip(range(1, len(subjects) + 1), sessions.PUBLISHED, strict=False):
        rois = root / f"nsddata/ppdata/subj{number:02d}/func1pt8mm/roi"
        paths += [rois / f"{atlas}.nii.gz" for atlas in ("nsdgeneral", *nsd["atlases"])]
        betas = root / f"nsddata_betas/ppdata/subj{number:02d}/func1pt8mm/{nsd['betas']}"
        paths += [betas / f"betas_session{session:02d}.hdf5" for session in range(1, n_sessions + 1)]
    models = folder / "data/models"
    paths.append(models / "imagenet64-iter-1600000-model-ema.th")
    parts = ("image_unet", "text_unet", "vae", "text_encoder", "tokenizer", "image_encoder", "image_feature_extractor")
    paths += [models / "versatile-diffusion" / part / "config.json" for part in parts]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_design(root / "nsddata/experiments/nsd/nsd_expdesign.mat")
    own = {"subjects": subjects, "nsd": {"sessions": "all"}, "metrics": {"judges": ["clip"]}}
    (folder / "all.yaml").write_text(yaml.safe_dump(own))
    return folder


def write_design(path: Path) -> None:
    """A random order of 10,000 pictures, each shown three times."""
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = rng.integers(1, 73_001, (8, 10_000))
    savemat(path, {"masterordering": rng.permutation(np.repeat(np.arange(1, 10_001), 3))[None], "subjectim": images})


if __name__ == "__main__":
    main()
