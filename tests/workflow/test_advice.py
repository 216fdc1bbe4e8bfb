"""What sentences advise works when it is followed, on a finished run of a toy subject."""

import os
import re
import shlex

import pytest
from toy_workflow import snakemake

from brain_diffuser.artifacts import hdf5

ASIDE = {".receipts", "logs", "benchmarks", ".snakemake_timestamp", ".dataset.json", "README.md"}


def test_every_artifact_can_be_made_again(finished):
    """Also the files of folders, which no rule names, and those that Snakemake deletes after use."""
    results = finished / "results"
    made = [path.relative_to(finished) for path in results.rglob("*") if path.is_file()]
    files = [path for path in made if not ASIDE & set(path.parts)]
    assert len(files) > 50
    commands = {shlex.join(shlex.split(hdf5.rerun(finished / path).partition(": ")[2])) for path in files}
    targets = sorted({shlex.split(command)[2].removeprefix(f"{finished}/") for command in commands})
    assert {
        shlex.join(["snakemake", "--force", f"{finished}/{target}", "--cores", "all"]) for target in targets
    } == commands
    assert "results/sub01/metrics" in targets
    assert "results/sub01/ridge/kernel.h5" in targets
    run = snakemake(finished, "--dry-run", "--cores", "all", "--force", *targets)
    assert run.returncode == 0, run.stderr


def test_a_damaged_kernel_is_made_again_by_its_own_rule(checkout):
    kernel = checkout / "results/sub01/ridge/kernel.h5"
    predicted = "results/sub01/ridge/vdvae_test.h5"
    status, content = kernel.stat(), bytearray(kernel.read_bytes())
    content[len(content) // 2] ^= 8
    kernel.write_bytes(content)
    os.utime(kernel, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk damages a file
    run = snakemake(checkout, "--cores", "1", "--force", predicted)
    assert run.returncode == 1
    said = re.search(r"rule ridge: (results/sub01/ridge/kernel\.h5 is damaged: .*)", run.stderr)
    assert said, run.stderr
    command = re.search(r"Rerun its job: (snakemake --force \S+ --cores all)", said[1])
    assert command
    again = snakemake(checkout, *shlex.split(command[1])[1:])
    assert again.returncode == 0, again.stderr
    assert "rule ridge_kernel:" in again.stderr
    run = snakemake(checkout, "--cores", "1", "--force", predicted)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("results/a b/x.h5", "Rerun its job: snakemake --force 'results/a b/x.h5' --cores all"),
        ("results/sub01/recon", "Rerun its job: snakemake --force results/sub01/recon --cores all"),
        ("betas_train", "Rerun the job that writes betas_train."),
    ],
)
def test_sentences(path, sentence):
    assert hdf5.rerun(path) == sentence
