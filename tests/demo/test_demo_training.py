"""The loop that trains the demo's models, and the scores by which they are compared."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.models.diffusion import weights
from demo import dataset, scenes
from demo.training import autoencoder, corpus, loop, measure, naming, unet


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 10)


def fit(folder, steps, stop=None, **options):
    """A small regression with noise of its own, killed before step `stop`."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    values = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    done = 0

    def loss(model, rows, generator):
        nonlocal done
        if done == stop:
            raise KeyboardInterrupt
        done += 1
        x = torch.from_numpy(values[rows])
        noise = torch.randn(len(rows), 10, generator=generator)
        return (model.layer(x) - x[:, :10] - 0.1 * noise).square().mean(), {}

    return loop.fit(
        Scale(), loss, name="scale", folder=folder, n_rows=50, steps=steps, batch_size=8, lr=0.01, warmup=5,
        checkpoint_every=1, **options,
    )  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"decay": 10}, {"orthogonal": True}])
def test_a_killed_training_goes_on_exactly(tmp_path, options):
    whole = fit(tmp_path / "whole", 30, **options)
    for stop in (7, 12):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "killed", 30, stop, **options)
    killed = fit(tmp_path / "killed", 30, **options)
    for one, other in zip(whole.parameters(), killed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_constant_rate_falls_only_at_the_end():
    rates = [loop.rate_at(step, 100, 10, 20) for step in range(100)]
    assert rates[:2] == pytest.approx([0.1, 0.2])
    assert set(rates[10:81]) == {1.0}
    assert rates[90] == pytest.approx(0.01 + 0.99 * 0.5)
    assert loop.rate_at(50, 100, 10, None) == pytest.approx(0.01 + 0.99 * 0.5)


def test_named_is_the_share_of_the_kinds_that_come_first():
    names = [thing.name for thing in scenes.things()][:4]
    shares = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(naming.named(shares, [[0, 2], [3]], names), [0.5, 1.0])
    np.testing.assert_allclose(naming.main_named(shares, [[1, 0], [3]], names), [False, True])


def test_degraded_images_keep_their_shape_and_what_they_show():
    x = naming.to_input(np.stack([naming.draw(i, "test", scenes.shown_things())[0] for i in range(6)]))
    again = [naming.degrade(x, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(*again)
    assert again[0].shape == x.shape
    correlation = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(x, again[0], strict=True)]
    assert min(correlation) > 0.5


def test_the_shipped_network_names_what_subjects_see():
    namer = naming.load()
    assert {scenes.things()[kind].name for kind in scenes.shown_things()} <= set(namer.names)
    drawn = [naming.draw(i, "naming test", scenes.shown_things()) for i in range(60)]
    shares = namer.shares(np.stack([image for image, _ in drawn]))
    assert naming.named(shares, [kinds for _, kinds in drawn], namer.names).mean() > 0.85


def test_images_of_a_run_are_scored_beside_its_stimuli(tmp_path):
    ids = np.arange(100, 112, dtype=np.int32)
    truth = np.stack([corpus.at_size(dataset.scene_of(int(i), 3)) for i in ids])
    sets = {"good": truth, "wrong": np.roll(truth, 1, axis=0)}
    for name, images in sets.items():
        made = zip(ids.tolist(), images, strict=True)
        image_files.write_folder(tmp_path / name, tmp_path / f"{name}_manifest.tsv", made, "nsd")
    shown = np.stack([scenes.render(dataset.scene_of(int(i), 3), 128) for i in ids])
    hdf5.save(tmp_path / "data/stimuli_test.h5", shown, ids, flatten=False)
    every = measure.measure(tmp_path, 3, ["good", "wrong"])
    assert all(np.array_equal(every["truth"][key], every["good"][key], equal_nan=True) for key in every["truth"])
    with pytest.raises(ValueError, match=r"stimuli_test.h5 has other scenes than those of demo.seed 4; give the run's"):
        measure.measure(tmp_path, 4, ["good"])
    gain, low, high = measure.gains(every["good"], every["wrong"])["psnr"]
    assert 5 < low <= gain <= high
    assert measure.gains(every["good"], every["truth"])["single"] == [0, 0, 0]
    few = {key: values[:5] for key, values in every["good"].items()}
    with pytest.raises(ValueError, match=r"the runs have 12 and 5 test stimuli; compare runs of one demo.n_test"):
        measure.gains(every["good"], few)
    found = {name: measure.means(scores) for name, scores in every.items()}
    assert found["good"]["two_way"] == 1.0
    assert found["good"]["named"] > 0.7 > 0.3 > found["wrong"]["named"]
    assert found["wrong"]["two_way"] < 0.8
    assert found["wrong"]["psnr"] < 20 < found["good"]["psnr"]


def small_autoencoder(channels):
    torch.manual_seed(channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=16,
    ).eval()


@torch.inference_mode()
def test_turned_latents_are_uncorrelated_and_decode_to_the_same_image():
    model = small_autoencoder(autoencoder.CHANNELS)
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    latents = model.encode(images).latent_dist.mean
    decoded = model.decode(latents).sample
    autoencoder.turn(model, latents)
    turned = model.encode(images).latent_dist.mean
    torch.testing.assert_close(model.decode(turned).sample, decoded, rtol=0, atol=1e-4)
    before, after = (np.cov(each.permute(1, 0, 2, 3).flatten(1).numpy()) for each in (latents, turned))
    spread = np.linalg.eigvalsh(before)
    np.testing.assert_allclose(after, np.diag(np.sqrt(spread)), atol=0.01 * np.sqrt(spread.max()))


@torch.inference_mode()
def test_a_wider_autoencoder_begins_with_what_a_narrower_one_encodes():
    narrow, wide = small_autoencoder(4), small_autoencoder(autoencoder.CHANNELS)
    autoencoder.begin(wide, narrow)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(wide.encode(images).latent_dist.mean[:, :4], narrow.encode(images).latent_dist.mean)


def test_orthogonal_steps_have_one_size_in_every_direction():
    torch.manual_seed(0)
    matrix = nn.Parameter(torch.zeros(24, 6, 3, 3))
    narrow = nn.Parameter(torch.zeros(40, 10))
    for each in (matrix, narrow):
        rows, columns = each.flatten(1).shape
        decaying = torch.diag(10.0 ** -torch.linspace(0, 2, min(rows, columns)))
        left, right = (torch.linalg.qr(torch.randn(n, len(decaying)))[0] for n in (rows, columns))
        each.grad = (left @ decaying @ right.T).view_as(each)
    loop.Orthogonal([matrix, narrow], lr=0.1).step()
    for each in (matrix, narrow):
        step = -each.detach().flatten(1)
        values = torch.linalg.svdvals(step) / (0.1 * 0.2 * max(step.shape) ** 0.5)
        assert 0.6 < values.min() < values.max() < 1.3
        assert (step * each.grad.flatten(1)).sum() > 0


@pytest.mark.long
def test_the_unet_is_trained_on_from_its_own_weights(tmp_path, monkeypatch):
    """Two small steps on new scenes, as the command makes them, leave a UNet that is read again and hardly moved."""
    shutil.copytree(unet.OUT, tmp_path / unet.OUT)
    monkeypatch.chdir(tmp_path)
    corpus.write("held-out", 60, corpus.known_things())
    corpus.write("shown", 600, corpus.known_things())
    before = weights.load(unet.OUT)[0].float().state_dict()
    unet.main(2, 4, 1e-5, 600, None, unet.OUT, False)
    after = weights.load(unet.OUT)[0].float().state_dict()
    assert before.keys() == after.keys()
    moved = max((before[name] - after[name]).abs().max().item() for name in before)
    assert 0 < moved < 0.02
