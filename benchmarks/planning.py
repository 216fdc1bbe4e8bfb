"""Planning a run of all of NSD: time and memory of `snakemake -n` for every subject and eight variants in real shards.

The tree of files is empty but for the design, which is random in the published shape: planning reads nothing else.
"""

import argparse
import os
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

from brain_diffuser.data import nsd_sessions
from brain_diffuser.workflow import display, receipts, reconcile

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
RESULTS = yaml.safe_load((ROOT / "config.paper.yaml").read_text(encoding="utf-8"))["results"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="as users see it; otherwise Snakemake's own output")
    parser.add_argument("--profile", help="a folder below profiles; default otherwise")
    options = parser.parse_args()
    subjects = [f"sub{number:02d}" for number in range(1, options.subjects + 1)]
    with tempfile.TemporaryDirectory() as folder:
        checkout = write(Path(folder), subjects)
        targets = ["all", *(f"{RESULTS}/{each}/ablations" for each in subjects)]
        profile = ["--workflow-profile", f"profiles/{options.profile}"] if options.profile else []
        profile += [] if options.table else [display.ALL_OUTPUT]
        command = [sys.executable, "-m", "snakemake", "-n", *profile, "--configfile", "config.paper.yaml", "all.yaml"]
        for _ in range(options.times):
            before = cpu_seconds()
            run = subprocess.run(
                [*command, "--", *targets], cwd=checkout, capture_output=True, encoding="utf-8", check=False
            )
            seconds = cpu_seconds() - before
            if run.returncode:
                sys.exit(run.stderr + run.stdout)
            n_jobs = re.findall(r"^total +(\d+)$", run.stdout + run.stderr, re.M)[0]
            mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            sys.stdout.write(f"{n_jobs} jobs, {seconds:.1f} CPU-s, {mib:.0f} MiB at the peak\n")
        reconcile_all(checkout, run.stdout)


def cpu_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reconcile_all(checkout: Path, planned: str) -> None:
    """Time what every start does with receipts once all planned jobs have run: a file or 982 images for each output."""
    os.chdir(checkout)
    root, n_images = RESULTS, 0
    made: dict[str, receipts.Receipt] = {}
    for block in re.findall(r"^rule \w+:\n((?:    .*\n)*)", planned, re.M):
        fields = dict(re.findall(r"^    (\w+): (.*)$", block, re.M))
        inputs, outputs = (fields.get(key, "").split(", ") for key in ("input", "output"))
        for path in filter(None, outputs):
            name = receipts.name_of(path, root)
            file = Path(receipts.path_of(name, root))
            if file.name in ("recon", "stage1", "autoencoder", "vdvae", "mean_image"):
                file.mkdir(parents=True)
                for number in range(982):
                    (file / f"nsd{number:05d}.png").touch()
                n_images += 982
            elif "shards" not in file.parts:  # these are gone by then
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            names = [receipts.name_of(each, root) for each in inputs if each]
            noted = {each: {} for each in names if each.startswith(receipts.ROOT)}
            noted |= {each: {"files": receipts.contents(each)} for each in names if each not in noted}
            held = receipts.contents(file) if file.exists() else {"": [0, 0, f"sha256:{'0' * 64}"]}
            params = [[str(place), repr({"cfg": f"{place}" * 80})] for place in range(4)]
            log = receipts.name_of(fields.get("log", ""), root)
            made[name] = receipts.Receipt(name, "rule", "nsd", log, params, names, noted, held)
    for receipt in made.values():
        for name, note in receipt.inputs.items():
            if name in made:
                note["digest"] = made[name].digest
        receipts.write(receipt, root)
    for which in ("first", "second", "third"):
        started = time.process_time()
        results = reconcile.Results(root)
        results.agree()
        seconds = time.process_time() - started
        sys.stdout.write(f"{len(results.by_name)} receipts, {n_images} images: {which} start {seconds:.2f} CPU-s\n")


def write(folder: Path, subjects: list[str]) -> Path:
    """A folder to plan in: links to the project's files, a configuration, and empty files where data would lie."""
    for path in ROOT.iterdir():
        if path.name not in ("results", "data", ".snakemake"):
            (folder / path.name).symlink_to(path)
    nsd = {"atlases": CONFIG["nsd"]["rois"], "betas": CONFIG["nsd"]["betas"]}
    root = folder / "data/nsd"
    paths = [root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", root / "COCO_73k_annots_curated.npy"]
    for number, n_sessions in zip(range(1, len(subjects) + 1), nsd_sessions.PUBLISHED, strict=False):
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
    own = {"subjects": subjects, "nsd": {"sessions": "all"}, "metrics": {"networks": ["clip"]}}
    (folder / "all.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return folder


def write_design(path: Path) -> None:
    """A random order of 10,000 images, each shown three times; all subjects see the first 1,000 of them."""
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(np.arange(1, 73_001))
    images = np.hstack([np.tile(order[:1000], (8, 1)), order[1000:].reshape(8, 9000)])
    savemat(path, {"masterordering": rng.permutation(np.repeat(np.arange(1, 10_001), 3))[None], "subjectim": images})


if __name__ == "__main__":
    main()
