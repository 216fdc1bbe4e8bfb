"""The sharper demo: its kinds of objects, the loop that trains its models, and the scores that compare them."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from demo import brain, dataset, scenes
from demo.training import corpus, loop, measure, naming


def test_kinds_are_apart_and_hold_those_that_subjects_see_today():
    groups = [set(scenes.kinds(group)) for group in scenes.SHARPER_KINDS]
    assert [len(group) for group in groups] == [60, 12, 10]
    assert len(set().union(*groups)) == 82
    assert set(scenes.shown_things()) <= groups[0]
    assert set(corpus.things_of("known")) == groups[0] | groups[1]
    assert set(corpus.things_of("familiar")) == set(range(len(scenes.things()))) - groups[2]


def test_todays_stimuli_stay_as_they_are():
    told = []
    for index in range(20):
        random = scenes.rng(0, "stimuli", index)
        scene = scenes.sample(random)
        told += [repr(scene), *scenes.captions(scene, random)]
    assert hashlib.sha256("\n".join(told).encode()).hexdigest()[:16] == "9ff95d6fdc2fad89"


def test_unknown_backgrounds_are_drawn_only_if_asked_for():
    assert not set(scenes.UNKNOWN_BACKGROUNDS) & set(scenes.BACKGROUNDS)
    among = scenes.kinds("out of distribution")
    images = []
    for name in scenes.UNKNOWN_BACKGROUNDS:
        random = scenes.rng(0, "test", 0)
        scene = scenes.sample(random, among, [name])
        assert scene.background == name
        assert {placed.thing for placed in scene.objects} <= set(among)
        assert all(scenes.PLACES[name] in text for text in scenes.captions(scene, random))
        images.append(scenes.render(scene, 64))
    assert np.abs(images[0].astype(float) - images[1]).mean() > 30


def test_the_simulated_brain_stays_as_it_is():
    places = brain.anatomy(1, seed=0)
    assert len(places.index) == 7500
    ncsnr = brain.noise_to_signal(1, 0, places)
    assert float(np.median(ncsnr)) == pytest.approx(0.54592, abs=1e-4)
    betas = brain.session_betas(1, 1, 0, np.zeros((5, 7500), np.float32), ncsnr)
    assert betas[0, :4].tolist() == [1697, 1636, -577, 678]
    assert betas.std() == pytest.approx(565.081, rel=1e-3)
    assert dataset.REPEATS == 3


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)


def fit(folder, steps, stop=None, **options):
    """A small regression with noise of its own, killed before step `stop`."""
    torch.manual_seed(0)
    rows_of = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    done = 0

    def loss(model, rows, generator):
        nonlocal done
        if done == stop:
            raise KeyboardInterrupt
        done += 1
        x = torch.from_numpy(rows_of[rows])
        noise = torch.randn(len(rows), 3, generator=generator)
        return (model.layer(x) - x[:, :3] - 0.1 * noise).square().mean(), {}

    return loop.fit(
        Scale(), loss, name="scale", folder=folder, n_rows=50, steps=steps, batch_size=8, lr=0.01, warmup=5,
        checkpoint_minutes=0, **options,
    )  # fmt: skip


@pytest.mark.parametrize("decay", [None, 10])
def test_a_killed_training_goes_on_exactly(tmp_path, decay):
    whole = fit(tmp_path / "whole", 30, decay=decay)
    for stop in (7, 12):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "killed", 30, stop, decay=decay)
    killed = fit(tmp_path / "killed", 30, decay=decay)
    for one, other in zip(whole.parameters(), killed.parameters(), strict=True):
        assert torch.equal(one, other)
    read = Scale()
    assert loop.load_averaged(read, "scale", tmp_path / "killed") == 30
    assert torch.equal(read.layer.weight, whole.layer.weight)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["scale.pt"]


def test_a_constant_rate_falls_only_at_the_end():
    rates = [loop.rate_at(step, 100, 10, 20) for step in range(100)]
    assert rates[:2] == pytest.approx([0.1, 0.2])
    assert set(rates[10:80]) == {1.0}
    assert rates[90] == pytest.approx(0.01 + 0.99 * 0.5)
    assert loop.rate_at(50, 100, 10, None) == pytest.approx(0.01 + 0.99 * 0.5)


def test_named_is_the_share_of_the_kinds_that_come_first():
    names = [thing.name for thing in scenes.things()][:4]
    shares = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(naming.named(shares, [[0, 2], [3]], names), [0.5, 1.0])
    np.testing.assert_allclose(naming.main_named(shares, [[1, 0], [3]], names), [False, True])


def test_degraded_images_keep_their_shape_and_what_they_show():
    x = naming.to_input(np.stack([naming.draw(i, "test")[0] for i in range(6)]))
    again = [naming.degrade(x, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(*again)
    assert again[0].shape == x.shape
    correlation = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(x, again[0], strict=True)]
    assert min(correlation) > 0.5


def test_the_shipped_network_names_true_scenes():
    namer = naming.load()
    assert set(namer.names) == {scenes.things()[kind].name for kind in naming.KINDS}
    drawn = [naming.draw(i, "naming test") for i in range(100)]
    shares = namer.shares(np.stack([image for image, _ in drawn]))
    assert naming.named(shares, [kinds for _, kinds in drawn], namer.names).mean() > 0.9


def test_models_are_compared_scene_by_scene(tmp_path):
    rng = np.random.default_rng(0)
    old = rng.random(200)
    shown = np.array([str(i) for i in range(200)])
    np.savez(tmp_path / "old.npz", **{"shown": shown, "brain/named": old})
    np.savez(tmp_path / "new.npz", **{"shown": shown, "brain/named": old + 0.1 + 0.01 * rng.normal(size=200)})
    found = measure.compare(tmp_path / "old.npz", tmp_path / "new.npz")["brain/named"]
    assert 0.095 < found["low"] < found["difference"] < found["high"] < 0.105
    np.savez(tmp_path / "new.npz", **{"shown": shown[::-1], "brain/named": old})
    with pytest.raises(ValueError, match="different scenes"):
        measure.compare(tmp_path / "old.npz", tmp_path / "new.npz")
