"""Jobs that run side by side take different GPUs; the GPUs are stand-ins, the processes are real."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from toy_workflow import ROOT, edit_config, interpreter, snakemake, write_checkout

from brain_diffuser.workflow import gpus

pytestmark = pytest.mark.long

UUIDS = ("GPU-0a", "GPU-1b")
JOB = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from types import SimpleNamespace
import torch
from brain_diffuser.workflow.job import job

number, n_jobs, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.cuda.device_count = lambda: 1 / 0  # asked before the job has its GPU, CUDA would see all of them for good
resources = {{"device": device}}
snakemake = SimpleNamespace(rule="recon_shard", log=[f"{{number}}.log"], output=[], threads=1, resources=resources)
with job(snakemake, receipt=False):
    import os
    Path(f"{{number}}.took").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    while len(list(Path().glob("*.took"))) < n_jobs:
        time.sleep(0.02)
"""


def nvidia_smi(folder, monkeypatch, uuids=UUIDS):
    """A program of that name that knows some GPUs, first on PATH."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {each}\n" for each in uuids))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def took(folder, n_jobs, device="cuda"):
    """How many of some jobs that run at the same time took which GPU."""
    running = [
        subprocess.Popen([interpreter(), "-c", JOB, str(number), str(n_jobs), device], cwd=folder)
        for number in range(n_jobs)
    ]
    assert [each.wait(120) for each in running] == [0] * n_jobs
    return Counter(path.read_text() for path in folder.glob("*.took"))


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("chosen", ["2,3", "GPU-8c0f, GPU-9d1e", "MIG-1/2,MIG-3"])
def test_jobs_take_different_ones_of_the_chosen_gpus(tmp_path, monkeypatch, chosen):
    monkeypatch.setenv(gpus.VARIABLE, chosen)
    assert took(tmp_path, 2) == dict.fromkeys(map(str.strip, chosen.split(",")), 1)
    assert "GPU" in (tmp_path / "0.log").read_text()


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_jobs_take_different_ones_of_the_machines_gpus(tmp_path, monkeypatch, device):
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    nvidia_smi(tmp_path / "bin", monkeypatch)
    assert took(tmp_path, 2, device) == dict.fromkeys(UUIDS, 1)


def test_more_jobs_than_gpus_share_them_evenly(tmp_path, monkeypatch):
    monkeypatch.setenv(gpus.VARIABLE, "0,1")
    assert took(tmp_path, 5) in ({"0": 3, "1": 2}, {"0": 2, "1": 3})


@pytest.mark.parametrize(("chosen", "device"), [("3", "cuda"), ("", "cuda"), ("0,1", "cpu"), ("0,1", "mps")])
def test_where_there_is_nothing_to_choose_nothing_is_changed(tmp_path, monkeypatch, chosen, device):
    """As in a job of Slurm, which has one GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(gpus.VARIABLE, chosen)
    with gpus.one_of_several(device):
        assert os.environ[gpus.VARIABLE] == chosen
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_is_free_again_when_its_job_has_ended_or_died(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(gpus.VARIABLE, "4,5")
    for _ in range(2):
        with gpus.one_of_several("cuda"):
            assert os.environ[gpus.VARIABLE] == "4"
    assert os.environ[gpus.VARIABLE] == "4,5"
    dying = subprocess.Popen([sys.executable, "-c", JOB, "0", "2", "cuda"], cwd=tmp_path)
    while not (tmp_path / "0.took").exists():
        time.sleep(0.02)
    with gpus.one_of_several("cuda"):
        assert os.environ[gpus.VARIABLE] == "5"
    dying.kill()
    dying.wait()
    with gpus.one_of_several("cuda"):
        assert os.environ[gpus.VARIABLE] == "4"


@pytest.mark.parametrize("answer", ["", "exit 9\n"])
def test_a_machine_without_gpus(tmp_path, monkeypatch, answer):
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    nvidia_smi(tmp_path / "bin", monkeypatch, ())
    with (tmp_path / "bin/nvidia-smi").open("a") as program:
        program.write(answer)
    assert gpus.visible() == []


def test_no_import_of_a_jobs_script_asks_for_gpus():
    """CUDA reads the variable when it is first asked; a job sets it after its script's imports."""
    scripts = [path.read_text() for path in sorted((ROOT / "workflow_scripts").rglob("*.py"))]
    imports = {line for text in scripts for line in re.findall(r"^(?:from|import) .*", text, re.M)}
    asks = ("is_available", "device_count", "_lazy_init", "current_device", "get_device_properties")
    program = "import torch\n" + "".join(f"torch.cuda.{name} = lambda *_: 1 / 0\n" for name in asks)
    program += "\n".join(sorted(imports)) + "\nimport diffusers.models.unets.unet_2d_condition, transformers\n"
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())


@pytest.mark.workflow
def test_a_local_run_uses_both_gpus_of_a_profile(tmp_path, monkeypatch):
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    nvidia_smi(tmp_path / "bin", monkeypatch)
    checkout = write_checkout(tmp_path / "checkout")
    profile = yaml.safe_load((checkout / "profiles/default/profile.yaml").read_text())
    profile["resources"]["gpu"] = 2
    (checkout / "profiles/two").mkdir()
    (checkout / "profiles/two/profile.yaml").write_text(yaml.safe_dump(profile))
    edit_config(checkout, "compute.device", "auto")  # which is a GPU where this nvidia-smi is
    edit_config(checkout, "compute.dtype", "float32")
    edit_config(checkout, "shards.recon", 2)
    edit_config(checkout, "recon.steps", 40)
    found = snakemake(checkout, "--cores", "4", "--workflow-profile", "profiles/two", "results/sub01/recon")
    assert found.returncode == 0, found.stderr
    logs = [path.read_text() for path in Path(checkout, "results/sub01/logs").glob("*.log")]
    taken = re.findall(r"GPU (\S+) of GPU-0a, GPU-1b", "".join(logs))
    assert len(taken) == 3 + 1 + 4  # features of training stimuli, stage 1, reconstructions
    assert set(taken) == set(UUIDS)
