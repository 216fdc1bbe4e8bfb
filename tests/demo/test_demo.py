"""The demo dataset: scenes, NSD-shaped experiment, simulated brain with known ground truth."""

import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from toy_workflow import copy_project

from brain_diffuser.models import efficientnet_lite
from demo import brain, scenes
from demo import dataset as demo_dataset

SEED = 0
FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def shown():
    """48 scenes at 128 px."""
    drawn = [scenes.sample(scenes.rng(SEED, "test", i)) for i in range(48)]
    return drawn, np.stack([scenes.render(scene, 128) for scene in drawn])


def test_a_scene_is_the_same_whenever_and_at_whatever_size_it_is_drawn():
    differences = []
    for index in range(10):
        first, again = (scenes.sample(scenes.rng(SEED, "stimuli", index)) for _ in range(2))
        assert first == again
        large, small = scenes.render(first, 256), scenes.render(first, 64)
        reduced = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX)).astype(float)
        differences.append(np.abs(reduced - small).mean())
        assert scenes.sample(scenes.rng(SEED, "training", index)) != first
    assert max(differences) < 8
    assert np.mean(differences) < 4


def test_captions_name_every_object_and_the_image_shows_them():
    for i in range(30):
        random = scenes.rng(SEED, "captions", i)
        scene = scenes.sample(random)
        texts = scenes.captions(scene, random)
        assert len(set(texts)) >= 4
        assert max(map(len, texts)) <= demo_dataset.CAPTION_WIDTH
        for placed in scene.objects:
            assert sum(scenes.things()[placed.thing].name in text for text in texts) == 5
        labels = set(np.unique(scenes.label_map(scene, 16))) - {0}
        assert labels == {placed.thing + 1 for placed in scene.objects}


def test_design_is_nsds():
    variables = demo_dataset.design(n_train=230, n_test=20, seed=SEED)
    order, ids = variables["masterordering"], variables["subjectim"]
    assert order.shape == (1, 30000)
    assert ids.shape == (8, 10000)
    assert np.array_equal(np.bincount(order[0].astype(int))[1:], np.full(10000, 3))
    assert len(np.unique(ids)) == 73000
    assert (ids[:, :1000] == ids[0, :1000]).all()
    assert np.array_equal(variables["sharedix"][0], np.sort(ids[0, :1000]))
    trials = demo_dataset.shown(variables, subject=2, sessions=1)
    values, counts = np.unique(trials, return_counts=True)
    assert len(values) == 250
    assert (counts == 3).all()
    assert len(set(values) & set(demo_dataset.shown(variables, 1, 1))) == 20


@pytest.mark.parametrize(
    ("n_train", "n_test", "message"),
    [(230, 21, "multiple of 250"), (250, 0, "at least 2"), (9100, 150, "choose fewer")],
)
def test_stimuli_that_do_not_fit_the_design(n_train, n_test, message):
    with pytest.raises(ValueError, match=message):
        demo_dataset.n_sessions(n_train, n_test)


def test_stimulus_files_have_nsds_shape_and_hold_only_what_is_shown(tmp_path):
    stimulus_file, captions = tmp_path / "nsd_stimuli.hdf5", tmp_path / "captions.npy"
    demo_dataset.write_stimuli(stimulus_file, captions, np.array([5, 72999]), SEED)
    with h5py.File(stimulus_file) as file:
        assert file["imgBrick"].shape == (73000, 425, 425, 3)
        assert file["imgBrick"].dtype == np.uint8
        assert np.array_equal(file["imgBrick"][72999], demo_dataset.image(72999, SEED)[0])
        assert not file["imgBrick"][6].any()
    texts = np.load(captions, mmap_mode="r")
    assert texts.shape == (73000, 5)
    assert texts[5].tolist() == demo_dataset.image(5, SEED)[1]
    assert stimulus_file.stat().st_size < 2e6
    assert captions.stat().st_blocks * 512 < 2e6


def test_labels_follow_nsds_codes():
    labels = brain.atlases(brain.anatomy(1, SEED))
    assert set(np.unique(labels["prf-visualrois"])) == set(range(8))
    assert set(np.unique(labels["prf-eccrois"])) == set(range(6))
    assert [labels[f"floc-{n}"].max() for n in ("faces", "words", "places", "bodies")] == [5, 5, 3, 4]
    assert len(labels["nsdgeneral"]) >= 1500
    first, second = brain.anatomy(1, SEED), brain.anatomy(2, SEED)
    assert not np.array_equal(first.index, second.index)


def test_early_voxels_answer_inside_their_receptive_field():
    places = brain.anatomy(1, SEED)
    voxel = int(np.flatnonzero((places.area == "V1v") & (places.eccentricity < 2))[0])
    x, y = (places.eccentricity[voxel] * f(places.angle[voxel]) / brain.DEGREES for f in (np.cos, np.sin))
    random = np.random.default_rng(0)
    blank = np.full((128, 128, 3), 128, np.uint8)
    column, row = int((0.5 + x) * 128), int((0.5 - y) * 128)
    images = []
    for where in ((row, column), (row, (column + 64) % 128)):
        for _ in range(12):
            image = blank.copy()
            image[max(0, where[0] - 8) : where[0] + 8, max(0, where[1] - 8) : where[1] + 8] = random.integers(
                0, 255, 3, dtype=np.uint8
            )
            images.append(image)
    images = np.stack(images)
    features = {
        "middle": random.normal(size=(24, 64, 112)).astype(np.float32),
        "last": random.normal(size=(24, 16, 128)).astype(np.float32),
    }
    empty = [scenes.Scene("sea", "red", 0, ()) for _ in images]
    signal = brain.responses(1, SEED, places, brain.low_level_maps(images), features, empty)[:, voxel]
    assert signal[:12].std() > 3 * signal[12:].std()


def test_category_areas_prefer_their_category(shown):
    drawn, images = shown
    network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite1"), folded=False)
    places = brain.anatomy(1, SEED)
    signal = brain.responses(
        1, SEED, places, brain.low_level_maps(images), brain.high_level_features(images, network), drawn
    )
    assert np.allclose(signal.std(0), 1, atol=1e-3)
    assert np.allclose(signal.mean(0), 0, atol=1e-3)
    for area, category in (("faces", "face"), ("places", "building"), ("words", "sign")):
        has = np.array([category in scenes.coverage(scene) for scene in drawn])
        assert has.any()
        selectivity = signal[has].mean(0) - signal[~has].mean(0)
        assert selectivity[places.area == area].mean() > selectivity[places.area == "other"].mean() + 0.3


def test_the_brain_sees_with_the_network_as_it_is_published(shown):
    path = efficientnet_lite.packaged_weights("lite1")
    plain = efficientnet_lite.EfficientNetLite("lite1")
    plain.load_state_dict(torch.load(path, weights_only=True))
    expected = brain.high_level_features(shown[1][:4], plain.eval().requires_grad_(False))
    found, folded = (
        brain.high_level_features(shown[1][:4], efficientnet_lite.load_efficientnet_lite(path, folded=is_folded))
        for is_folded in (False, True)
    )
    for layer in ("middle", "last"):
        assert np.array_equal(found[layer], expected[layer])
        assert not np.array_equal(folded[layer], expected[layer])


def test_the_betas_of_the_brain_stay(shown):
    """A part of what commit ce861a6 simulated for twelve scenes; processors may round a level the other way."""
    drawn, images = shown
    network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite1"), folded=False)
    given = {"images": lambda batch: images[batch], "scene_of": lambda i: drawn[i], "network": network}
    _, signal, ncsnr = brain.simulate(1, SEED, np.arange(12), **given)
    betas = brain.session_betas(1, 1, SEED, signal, ncsnr)[:, ::150]
    golden = np.load(FIXTURES / "brain_betas.npy")
    assert np.abs(betas.astype(int) - golden).max() <= 1


def test_noise_ceilings_are_as_stated_and_like_nsds():
    places = brain.anatomy(1, SEED)
    ncsnr = brain.noise_to_signal(1, SEED, places)
    ceiling = 100 * ncsnr**2 / (ncsnr**2 + 1 / 3)  # percent of variance, three repeats
    assert 35 < np.median(ceiling) < 65
    assert 10 < np.percentile(ceiling, 5) < 35
    random = np.random.default_rng(0)
    signal = np.repeat(random.normal(size=(400, len(ncsnr))), 3, axis=0).astype(np.float32)
    betas = brain.session_betas(1, 1, SEED, signal, ncsnr).astype(float).reshape(400, 3, -1)
    noise = betas.var(1, ddof=1).mean(0)
    estimated = np.sqrt(np.maximum(betas.mean(1).var(0, ddof=1) - noise / 3, 0) / noise)
    assert np.corrcoef(estimated, ncsnr)[0, 1] > 0.95
    assert abs(np.median(estimated / ncsnr) - 1) < 0.05


def test_nifti_and_hdf5_sessions_hold_the_same_betas(tmp_path):
    places = brain.anatomy(1, SEED)
    betas = np.random.default_rng(0).integers(-900, 900, (3, len(places.index)), dtype=np.int16)
    for name in ("a.nii.gz", "a.hdf5"):
        brain.write_session(tmp_path / name, betas, places)
    volume = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert np.array_equal(file["betas"][:].transpose(3, 2, 1, 0), volume)
    assert np.array_equal(volume.reshape(-1, 3)[places.index].T, betas)
    assert np.count_nonzero(np.delete(volume.reshape(-1, 3), places.index, axis=0)) == 0


PLAN = """
import sys
from brain_diffuser.workflow import planned_jobs
targets = [f"results/{subject}/recon" for subject in sys.argv[1:]]
for job in planned_jobs.plan({"subjects": sys.argv[1:]}, [], lambda _: targets):
    print("job", job)
"""


@pytest.mark.workflow
def test_another_subject_changes_no_job_of_the_first(tmp_path):
    checkout = copy_project(tmp_path / "demo", "tests")

    def jobs(*subjects):
        command = [sys.executable, "-c", PLAN, *subjects]
        found = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
        return {line for line in found.stdout.splitlines() if line.startswith("job ")}

    first, both = jobs("sub01"), jobs("sub01", "sub02")
    assert first < both
    assert len(both) == 2 * len(first)
