"""The demo's imagery session and its set out of distribution: the same voxels, known gains, and objects never shown."""

import h5py
import numpy as np
import pytest

from brain_diffuser.data import nsd_synthetic
from brain_diffuser.models import efficientnet_lite
from demo import brain, experiments, scenes
from demo import dataset as demo_dataset

SEED = 0


@pytest.fixture(scope="module")
def core():
    """What a brain answers to 12 scenes at 128 px."""
    drawn = [scenes.sample(scenes.rng(SEED, "test", i)) for i in range(12)]
    images = np.stack([scenes.render(scene, 128) for scene in drawn])
    network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite1"), folded=False)
    return experiments.look([images], drawn, network)


def test_responses_are_those_of_the_same_voxels(core):
    places = brain.anatomy(1, SEED)
    expected = brain.responses(1, SEED, places, core.maps, core.features, core.scenes)
    some = experiments.Seen(
        core.maps[5:9], {name: layer[5:9] for name, layer in core.features.items()}, core.scenes[5:9]
    )
    found = experiments.responses(1, SEED, places, core, some)
    np.testing.assert_allclose(found, expected[5:9], atol=2e-3)


def test_imagery_is_weaker_and_noisier_by_known_numbers():
    n_voxels = 300
    runs, cues = experiments.imagery_rows(SEED, 1)
    assert len(runs) == len(cues) == 720
    assert runs[48] == runs[143] == "attA"
    assert [runs.count(run) for run in ("visA", "attA", "imgA_1", "imgA_2")] == [48, 96, 48, 48]
    signal_of = {cue: np.random.default_rng(ord(cue)).normal(0, 1, n_voxels) for cue in set(cues)}
    signal, ncsnr = np.stack([signal_of[cue] for cue in cues]), np.full(n_voxels, 0.5, np.float32)
    betas = experiments.trial_betas(1, SEED, signal, ncsnr, runs, "imagery") / 300
    spread = scenes.rng(SEED, "gain", 1).uniform(1.2, 2.4, n_voxels)
    for word, gain, noise in (("vis", 1.0, 1.0), ("img", 0.35, 1.3)):
        of_runs = [[row for row, name in enumerate(runs) if name == run] for run in set(runs) if run.startswith(word)]
        centred, model = (
            np.concatenate([values[rows] - values[rows].mean(0) for rows in of_runs]) for values in (betas, signal)
        )
        scaled = centred / spread
        assert (scaled * model).sum() / (model**2).sum() == pytest.approx(0.5 * gain, abs=0.02)
        assert (scaled - 0.5 * gain * model).std() == pytest.approx(noise, rel=0.05)


def test_targets_of_the_demo_are_bars_scenes_of_these_ids_and_words():
    images, shown = experiments.target_images(SEED)
    assert len(images) == len(shown) == 18
    np.testing.assert_array_equal(images["W"], demo_dataset.image(28751, SEED)[0])
    bars = {cue: images[cue] for cue in "HRVL"}
    assert {tuple(np.unique(image)) for image in bars.values()} == {(0, 127)}
    assert bars["H"][212, 20].max() == 0  # a bar of 0 degrees lies
    assert bars["V"][20, 212].max() == 0
    assert scenes.things()[shown[list(images).index("Y")].objects[0].thing].name == "zebra"


def test_nothing_out_of_distribution_was_shown_before(tmp_path):
    for number in (*experiments.SCENES, *experiments.SPIRALS, *experiments.COLOURS)[::9]:
        _, scene = experiments.synthetic_image(number, SEED, 1)
        assert all(scenes.things()[placed.thing].shown == "no" for placed in scene.objects)
        assert bool(scene.objects) == (number in experiments.SCENES)
    order = experiments.ordering(SEED)
    assert len(order) == 744
    assert set(np.bincount(order)[experiments.shown_numbers()]) == {12}
    experiments.write_design(tmp_path / "design.mat", SEED)
    assert nsd_synthetic.read_ordering(tmp_path / "design.mat") == order.tolist()
    experiments.write_brick(tmp_path / "own.hdf5", 221, 64, SEED, 1)
    with h5py.File(tmp_path / "own.hdf5") as file:
        assert file["imgBrick"].shape[0] == 64
        np.testing.assert_array_equal(file["imgBrick"][1], experiments.synthetic_image(222, SEED, 1)[0])
        assert (experiments.synthetic_image(222, SEED, 2)[0] != file["imgBrick"][1]).any()  # made for each subject
