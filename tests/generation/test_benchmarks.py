"""The benchmarks of networks run, on small networks, and compare what is the same."""

import argparse

import numpy as np
import pytest
import torch

from benchmarks import gpu, guidance, timing, vdvae, versatile

pytestmark = pytest.mark.long

SMALL = argparse.Namespace(
    device="cpu", dtype="float32", dtypes=["float32"], channels=32, latents=8, batch=1, threads=1, repeats=2, small=True
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small products for the peak; the number of threads is put back."""
    monkeypatch.setattr(timing, "PEAK_SIZE", 64)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_all_ways_of_a_step_give_the_same_noise():
    found = versatile.measure(list(versatile.STEPS), SMALL)
    assert list(found) == list(versatile.STEPS)
    assert all(row.seconds > 0 and row.share > 0 for row in found.values())


def test_what_was_tried_gives_the_same_noise_and_tiles_another_image(capsys):
    rows = versatile.measure(["ours", "one_product"], SMALL)
    assert list(rows) == ["ours", "one_product"]
    assert list(versatile.measure(["decode", "tiled"], SMALL)) == ["decode", "tiled"]
    assert float(capsys.readouterr().out.split()[1]) > 0


def test_a_batch_changes_little_in_float32():
    sentence = versatile.batch_invariance(argparse.Namespace(**vars(SMALL)))
    assert float(sentence.split("by ")[-1].split()[0]) < 1e-5


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


@pytest.mark.parametrize("ways", [vdvae.FEATURES, vdvae.DECODING])
def test_the_benchmark_of_vdvae_compares_with_float32(ways):
    options = argparse.Namespace(**vars(SMALL) | {"size": "small", "batch": 2})
    rows, far = vdvae.measure(list(ways), options)
    assert list(rows) == list(ways)
    assert all(row.seconds > 0 and row.share > 0 for row in rows.values())
    assert set(far) == {way for way in ways if vdvae.WAYS[way][1] == "bfloat16"}
    assert all(float(text.partition(" ")[0]) < 3 for text in far.values())


def test_vdvae_features_of_other_bits_are_no_row(monkeypatch):
    outputs = {"features": np.zeros((1, 4), np.float32), "whole": np.ones((1, 4), np.float32)}
    monkeypatch.setattr(vdvae, "run_of", lambda way, options: lambda: outputs[way])
    with pytest.raises(SystemExit, match="differ from those of all blocks"):
        vdvae.measure(["features", "whole"], SMALL)


def test_both_ways_of_a_guided_step_give_the_same_gradient():
    rows = guidance.measure(SMALL)
    assert list(rows) == list(guidance.WAYS)
    runs = guidance.runs_of(SMALL)
    with_unet, without = (timing.flops(runs[way]) for way in ("two_parts", "constant"))
    assert with_unet > without


def test_operations_are_counted_as_torch_counts_them():
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5))
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert timing.flops(lambda: layers(x)) == 2 * 2 * (27 * 8 * 36 + 8 * 36 * 5)
    query = torch.randn(1, 8, 64, 40)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert timing.flops(lambda: attention(query, query, query)) == 4 * 8 * 64 * 64 * 40
