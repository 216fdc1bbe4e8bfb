"""The benchmarks of networks run, on small networks, and compare what is the same."""

import argparse

import pytest
import torch

from benchmarks import gpu, versatile

SMALL = argparse.Namespace(
    device="cpu", dtype="float32", dtypes=["float32"], channels=32, latents=8, batch=1, threads=1, repeats=2, small=True
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small products for the peak; the number of threads is put back."""
    monkeypatch.setattr(versatile, "PEAK_SIZE", 64)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_all_ways_of_a_step_give_the_same_noise():
    found = versatile.measure(list(versatile.STEPS), SMALL)
    assert list(found) == list(versatile.STEPS)
    assert all(row["seconds"] > 0 and row["share"] > 0 for row in found.values())


def test_a_way_that_gives_other_noise_is_no_row():
    outputs = {"ours": torch.zeros(4), "fused": torch.arange(4.0)}
    with pytest.raises(SystemExit, match="the noise differs by"):
        versatile.check(outputs, "float32")


def test_the_table_of_a_gpu_on_a_processor():
    options = argparse.Namespace(**vars(SMALL) | {"stages": ["stage 2", "features: clip_vision"]})
    first, second = gpu.rows(options, 0.0)
    assert first[:3] == ("stage 2", "float32", "all")
    assert first[-1].endswith(" x")
    assert second[0] == "features: clip_vision"
    assert float(second[4]) > 0
