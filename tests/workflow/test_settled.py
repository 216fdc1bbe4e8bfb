"""What "auto" in the section `compute` stands for: on which machine, and in a folder of results that has been begun."""

import copy

import pytest
import torch

from brain_diffuser.models import devices, precisions
from brain_diffuser.workflow import plan

CONFIG = {"compute": {"dtype": "auto", "batch_size": {"features": "auto", "stage1": 7, "recon": "auto"}}}
FLAGS = {
    "fpu sse2 avx512f amx_bf16 amx_tile": "bfloat16",
    "fpu sse2 avx512f avx512_bf16": "bfloat16",
    "fpu sse2 avx512f avx512_vnni": "float32",
    "": "float32",
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose processor has some flags and whose GPUs have some MiB."""

    def make(flags="", *gpus):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbogomips\t: 1\n")
        monkeypatch.setattr(precisions, "CPUINFO", tmp_path / "cpuinfo")
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        lines = "\n".join(map(str, gpus))
        program.write_text(f"#!/bin/sh\ncat <<END\n{lines}\nEND\n" if gpus else "#!/bin/sh\nexit 9\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return make


@pytest.mark.parametrize("flags", FLAGS)
def test_a_processor_that_multiplies_bfloat16_computes_in_it(machine, flags):
    machine(flags)
    config = copy.deepcopy(CONFIG)
    settled = plan.settle(config, "cpu", {})
    sizes = {"features": 4, "stage1": 7, "recon": 1}
    assert config == {"compute": {"dtype": FLAGS[flags], "batch_size": sizes}}
    assert settled == {
        "compute.dtype": FLAGS[flags],
        "compute.batch_size.features": 4,
        "compute.batch_size.recon": 1,
    }


@pytest.mark.parametrize(("gpus", "recon"), [((24564, 81920), 8), ((12282,), 4), ((81920, 12282), 4), ((), 4)])
def test_the_smallest_gpu_decides_on_the_size_of_batches(machine, gpus, recon):
    machine("amx_bf16", *gpus)
    config = copy.deepcopy(CONFIG)
    assert plan.settle(config, "cuda", {})["compute.batch_size.recon"] == recon
    assert config["compute"]["dtype"] == "float16"


def test_small_networks_stay_in_float32_and_in_large_batches(machine):
    machine("amx_bf16")
    config = copy.deepcopy(CONFIG)
    plan.settle(config, "cpu", {}, is_small=True)
    assert config["compute"] == {"dtype": "float32", "batch_size": {"features": 32, "stage1": 7, "recon": 16}}
    config = copy.deepcopy(CONFIG)
    assert plan.settle(config, "cuda", {}, is_small=True)["compute.dtype"] == "float16"


def test_a_model_is_small_if_its_files_are(tmp_path, monkeypatch):
    (tmp_path / "model/unet").mkdir(parents=True)
    assert not plan.is_small(tmp_path / "model")
    assert not plan.is_small(tmp_path / "none")
    (tmp_path / "model/unet/weights").write_bytes(bytes(100))
    assert plan.is_small(tmp_path / "model")
    assert plan.is_small(tmp_path / "model/unet/weights")
    monkeypatch.setattr(plan, "SMALL_MODEL_BYTES", 100)
    assert not plan.is_small(tmp_path / "model")


def test_what_a_folder_was_begun_with_is_kept(machine):
    machine("amx_bf16")
    config = copy.deepcopy(CONFIG)
    known = {"compute.dtype": "float32", "compute.batch_size.recon": 16, "compute.batch_size.features": "many"}
    assert plan.settle(config, "cpu", known) == known | {"compute.batch_size.features": 4}
    assert config["compute"]["batch_size"] == {"features": 4, "stage1": 7, "recon": 16}


def test_what_is_written_is_left_alone(machine):
    machine("amx_bf16")
    config = {"compute": {"dtype": "float32", "batch_size": {"features": 3, "stage1": 2, "recon": 5}}}
    assert plan.settle(copy.deepcopy(config), "cpu", {"compute.dtype": "bfloat16"}) == {}


def test_the_device_is_kept_beside_what_follows_from_it(machine):
    """Results in 16 bits depend on the size of a GPU's batches, whatever machine plans them."""
    machine()
    config = copy.deepcopy(CONFIG)
    config["compute"]["device"] = "auto"
    begun = plan.settle(copy.deepcopy(config), "cuda", {})
    assert begun["compute.device"] == "cuda"
    later = copy.deepcopy(config)
    assert plan.settle(later, "cpu", begun) == begun
    assert later["compute"]["device"] == "auto"
    config["compute"]["device"] = "cpu"
    assert "compute.device" not in plan.settle(config, "cpu", {})


def test_a_machine_without_cpuinfo(tmp_path, monkeypatch):
    monkeypatch.setattr(precisions, "CPUINFO", tmp_path / "none")
    assert {device: precisions.choose(device) for device in precisions.PRECISIONS} == {
        "cpu": "float32",
        "cuda": "float16",
        "mps": "float32",
    }
    assert devices.choose("cpu", "auto")[1] == torch.float32


@pytest.mark.parametrize("flags", FLAGS)
def test_the_library_chooses_as_the_workflow(machine, flags):
    machine(flags)
    assert devices.choose("cpu", "auto")[1] == getattr(torch, FLAGS[flags])
