"""Networks that torch compiles make the same images but for rounding; where nothing compiles, a sentence says so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from brain_diffuser.models import compiling

TESTS = Path(__file__).parents[1]
COMPARE = """
import copy
import numpy as np, torch
from tiny_diffusion import contexts, small_models
from brain_diffuser.generation import img2img
from brain_diffuser.models import compiling

def reconstruct():
    init_images = np.random.default_rng(0).integers(256, size=(2, 12, 12, 3), dtype=np.uint8)
    unconditional = tuple(torch.from_numpy(context) for context in contexts(1, seed=9))
    images = img2img.reconstruct(
        init_images, *contexts(2), unconditional, (denoiser, autoencoder), nsd_id=np.array([4, 9], np.int32), seed=5,
        steps=4, strength=0.75, guidance_scale=3.0, text_weight=0.4, noise_at="paper", batch_size=2,
    )
    return np.stack([image for _, image in images]).astype(int)

torch.set_num_threads(1)
denoiser, autoencoder = small_models()
names, expected = list(denoiser.state_dict()), reconstruct()
for network in (denoiser.unet, autoencoder.vae.decoder):
    network.compile(dynamic=False, backend="eager")  # the real compiler takes a minute for the two
found, graphs = reconstruct(), torch._dynamo.utils.counters["stats"]["unique_graphs"]
assert graphs == 2, f"{graphs} graphs; expected one for all steps, one for all images"
assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01
assert list(denoiser.state_dict()) == names
layer, x = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.SiLU()).requires_grad_(False), torch.randn(1, 3, 8, 8)
expected = layer(x)
compiling.compile_networks([layer], torch.device("cpu"))
assert torch.allclose(layer(x), expected, atol=1e-6)
"""


@pytest.mark.long
@pytest.mark.skipif(not shutil.which(compiling.USUAL_COMPILER), reason="no C++ compiler is here, which torch needs")
def test_compiled_networks_make_the_images_of_those_that_are_not(tmp_path):
    """In a process of its own, for torch cannot compile the tests' checks of shapes."""
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(TESTS)}
    ended = subprocess.run(
        [sys.executable, "-c", COMPARE], cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_without_a_compiler_one_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    network = torch.nn.Linear(2, 2)
    sentence = (
        f"compute.compile is true, but {compiling.USUAL_COMPILER.replace('+', '.')} is not here, .* set compute.c"
    )
    with pytest.raises(FileNotFoundError, match=sentence):
        compiling.compile_networks([network], torch.device("cpu"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(FileNotFoundError, match="but no-such-compiler is not here"):
        compiling.compile_networks([network], torch.device("cpu"))


def test_a_gpu_without_triton_is_one_sentence(monkeypatch):
    monkeypatch.setattr(compiling, "has_triton", lambda: False)
    with pytest.raises(FileNotFoundError, match="but triton, with which torch compiles for a GPU, is not"):
        compiling.compile_networks([torch.nn.Linear(2, 2)], torch.device("cuda"))
