"""A finished run from Python: what it has, its own images from its betas once more, and betas that are not its own."""

import shutil

import numpy as np
import pytest

import brain_diffuser
from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.decoding import ridge

FEATURES = ("vdvae", "clip_text", "clip_vision")


@pytest.fixture(scope="module")
def run(finished):
    return brain_diffuser.load_run(finished / "results/sub01")


def test_a_run_has_its_artifacts_with_their_ids(run):
    betas, stimuli, recon = run.betas(), run.stimuli(), run.images()
    assert (run.dataset, run.is_simulated, run.subject) == ("toy", False, "sub01")
    assert betas.nsd_id.tolist() == stimuli.nsd_id.tolist() == recon.nsd_id.tolist()
    assert run.predictions("clip_text").values.shape == run.features("clip_text").values.shape
    assert {"recon", "stage1", "autoencoder"} <= set(run.sets_of_images())
    (row,) = [row for row in run.scores() if (row["images"], row["metric"]) == ("recon", "pix_corr")]
    of_images = run.scores_of_images()
    assert of_images["nsd_id"].tolist() == recon.nsd_id.tolist()
    assert row["mean"] == pytest.approx(np.nanmean(of_images["pix_corr"]), abs=1e-5)
    assert row["chance"] is None


def test_the_betas_of_a_run_give_its_own_predictions_and_images(run, recwarn):
    """Within rounding: the kernel's rows are computed again, by products of other shapes."""
    betas, nsd_id = run.betas()
    before = sorted((path, path.stat().st_mtime_ns) for path in run.folder.rglob("*"))
    found = brain_diffuser.decode(betas, run, ids=nsd_id, stages="features")
    assert set(found) == set(FEATURES)
    for feature in FEATURES:
        np.testing.assert_allclose(found[feature], run.predictions(feature).values, rtol=1e-4, atol=1e-5)
    for stages in ("stage1", "recon"):
        images = brain_diffuser.decode(betas, run, ids=nsd_id, stages=stages)
        assert np.abs(images.astype(int) - run.images(stages).values).max() <= 1, stages
    assert [str(each.message) for each in recwarn] == []
    assert before == sorted((path, path.stat().st_mtime_ns) for path in run.folder.rglob("*"))


def test_one_stimulus_has_the_same_image_alone_and_another_by_another_seed(run):
    betas, nsd_id = run.betas(rows=slice(2, 3))
    alone = brain_diffuser.decode(betas, run, ids=nsd_id)
    assert np.abs(alone.astype(int) - run.images(rows=slice(2, 3)).values).max() <= 1
    assert np.abs(brain_diffuser.decode(betas, run, ids=nsd_id, seed=7).astype(int) - alone).max() > 1
    assert np.abs(brain_diffuser.decode(betas, run).astype(int) - alone).max() > 1  # another id


def test_z_scored_betas_give_the_same(run):
    betas, _ = run.betas()
    kernel = ridge.load_kernel(run.folder / "ridge/kernel.h5")
    z = (betas - kernel.betas_mean) / kernel.betas_std
    expected = brain_diffuser.decode(betas, run, stages="features")
    found = brain_diffuser.decode(z, run, stages="features", standardised=True)
    for feature in FEATURES:
        np.testing.assert_allclose(found[feature], expected[feature], rtol=1e-3, atol=1e-4)


def test_predictions_are_those_of_a_dense_ridge(run):
    """An independent solver in voxel space, without rescaling."""
    train, features = hdf5.load_aligned(run.folder / "data/betas_train.h5", run.folder / "features/clip_text_train.h5")
    mean, std = train.values.mean(0, dtype=float), train.values.std(0, ddof=1, dtype=float)
    x, y = (train.values - mean) / std, features.values.reshape(len(train.values), -1).astype(float)
    alpha = run.made("ridge/clip_text_test.h5").params["cfg"]["alpha"]
    new = np.random.default_rng(0).normal(mean, std, (3, len(mean)))
    weights = np.linalg.solve(x.T @ x + alpha * np.eye(len(mean)), x.T @ (y - y.mean(0)))
    expected = ((new - mean) / std) @ weights + y.mean(0)
    found = brain_diffuser.decode(new, run, stages="features", rescale="none")["clip_text"]
    np.testing.assert_allclose(found.reshape(3, -1), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda betas: betas[0], r"expected \(stimuli, voxels\), so give the betas of one stimulus as betas\[None\]"),
        (lambda betas: betas.T, r"so give betas\.T"),
        (lambda betas: betas[:, :-1], r"expected \(stimuli, \d+\), the voxels of .*betas_test\.h5 in their order"),
        (lambda betas: betas[:0], r"expected at least one stimulus"),
        (lambda betas: betas[:, :2].tolist(), r"betas is float64 \(8, 2\); expected \(stimuli, \d+\)"),
        (lambda betas: [["a"] * betas.shape[1]], r"betas is <U1 .* expected real numbers in the unit of"),
        (lambda betas: (betas * 300).astype(np.int16), r"betas is int16 .* are to be divided by their scale first"),
        (
            lambda betas: np.where(np.arange(betas.shape[1]) == 5, np.nan, betas),
            r"betas\[0, 5\] is nan \(8 of 8 stimuli",
        ),
    ],
)
def test_what_are_no_betas_of_the_run_is_refused(run, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        brain_diffuser.decode(change(run.betas().values), run, stages="features")


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([1, 2], r"ids is int64 \(2,\); expected 8 whole numbers"),
        (np.full(8, 0.5), r"ids is float64 \(8,\)"),
        ([-1, *range(7)], r"ids has -1 to 6; expected numbers from 0"),
        ([3, 3, *range(10, 16)], r"ids has 3 2 times; expected every id once"),
    ],
)
def test_ids_that_are_none_are_refused(run, ids, sentence):
    with pytest.raises(ValueError, match=sentence):
        brain_diffuser.decode(run.betas().values, run, ids=ids)


def test_betas_of_another_scale_are_warned_of(run):
    with pytest.warns(UserWarning, match=r"betas have a root mean square of .* expected the unit of .*betas_test\.h5"):
        brain_diffuser.decode(300 * run.betas().values, run, stages="features")


def test_betas_that_are_z_scored_by_themselves_are_warned_of(run):
    betas = run.betas().values
    with pytest.warns(
        UserWarning, match=r"a standard deviation of 1 over these 8 stimuli; expected the unit of .*test\.h5"
    ):
        brain_diffuser.decode((betas - betas.mean(0)) / betas.std(0), run, stages="features")


def test_a_run_that_lacks_something_says_what_and_how_to_make_it(finished, tmp_path):
    copy = tmp_path / "results/sub01"
    for each in ("data/betas_train.h5", "data/betas_test.h5", "ridge/kernel.h5", "ridge/.receipts"):
        (copy / each).parent.mkdir(parents=True, exist_ok=True)
        place = finished / "results/sub01" / each
        (shutil.copytree if place.is_dir() else shutil.copy2)(place, copy / each)
    betas = hdf5.load(copy / "data/betas_test.h5").values
    again = (
        rf"vdvae_train\.h5 is missing \(features\.keep: .*--config features='{{keep: true}}' -- {copy}/features/vdvae_"
    )
    with pytest.raises(FileNotFoundError, match=again):
        brain_diffuser.decode(betas, copy, stages="features")
    with pytest.raises(
        FileNotFoundError, match=rf"{copy}/stage1 is not there, so this run is not finished; make it with"
    ):
        brain_diffuser.decode(betas, copy, stages="stage1")
    (copy / "stage1").mkdir()
    (tmp_path / "config.yaml").touch()
    again = rf"receipt of {copy}/stage1, is missing, .* snakemake --cores all -- results/sub01/stage1, in {tmp_path}$"
    with pytest.raises(FileNotFoundError, match=again):
        brain_diffuser.decode(betas, copy, stages="stage1")
    (copy / "stage1").rmdir()
    (copy / "data/betas_train.h5").rename(copy / "data/targets.tsv")
    with pytest.raises(ValueError, match=r"sub01 is a test set and has no decoders of its own; name its subject's run"):
        brain_diffuser.decode(betas, copy)
    with pytest.raises(FileNotFoundError, match=r"has no images recon; it has none\. Make them with snakemake"):
        brain_diffuser.load_run(copy).images()
    with pytest.raises(FileNotFoundError, match=r"metrics/scores\.csv is missing; make it with snakemake"):
        brain_diffuser.load_run(copy).scores()
    with pytest.raises(ValueError, match=r"has no folder data, so it is not a subject's folder of results$"):
        brain_diffuser.load_run(copy.parent)
    with pytest.raises(FileNotFoundError, match=r"sub09 does not exist"):
        brain_diffuser.load_run(copy.parent / "sub09")


def test_another_network_is_refused(checkout, run):
    model = checkout / "toy/vdvae/vdvae.json"
    model.write_text(model.read_text() + "\n")
    with pytest.raises(ValueError, match=r"vdvae\.json is not what .*sub01 was made with \(rule stage1_shard\)"):
        brain_diffuser.decode(run.betas().values, checkout / "results/sub01", stages="stage1")


def test_scores_are_those_of_the_run(run):
    found = brain_diffuser.score(run.images().values, run.stimuli().values, networks=(), n_resamples=20)
    own = {row["metric"]: row for row in run.scores() if row["images"] == "recon"}
    for row in found.table:
        for key in ("mean", "low", "high", "shuffled", "n"):
            assert row[key] == pytest.approx(own[row["metric"]][key], abs=2e-6)
    np.testing.assert_allclose(found.of_images["ssim"], run.scores_of_images()["ssim"], atol=1e-6)


def test_a_network_scores_images_of_another_size():
    stimuli = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    smaller = image_files.resize(stimuli, 16)
    found = brain_diffuser.score(smaller, stimuli, device="cpu", n_resamples=20)
    assert {row["metric"] for row in found.table} == {
        "pix_corr",
        "ssim",
        "efficientnet_lite0",
        "efficientnet_lite0_distance",
    }
    assert found.of_images["efficientnet_lite0"].shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8)),
            r"images is float64 \(2, 8, 8, 3\); expected uint8",
        ),
        (
            (np.zeros((2, 8, 8, 3), np.uint8),) * 1 + (np.zeros((3, 8, 8, 3), np.uint8),),
            "there are 2 images and 3 stimuli",
        ),
        ((np.zeros((1, 8, 8, 3), np.uint8),) * 2, r"got 1, expected at least 2"),
    ],
)
def test_what_cannot_be_scored_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        brain_diffuser.score(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"networks": ["swaf"]}, ValueError, "networks has swaf; expected some of alexnet"),
        ({"networks": ["clip"]}, ValueError, r"networks has clip, which reads CLIP's folder; name it with clip="),
        ({"networks": ["clip"], "clip": "nowhere"}, FileNotFoundError, "evaluation network clip needs nowhere"),
        ({"protocol": "mine"}, ValueError, "protocol is mine; expected one of brain_diffuser, mindeye"),
    ],
)
def test_what_is_no_option_of_scores_is_refused(options, error, sentence):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(error, match=sentence):
        brain_diffuser.score(images, images, **options)
