"""Learned decoders in the workflow: two toy subjects, what an edit affects, and one subject alone."""

import shutil

import pytest
from nsd_tree import write_tree
from toy_workflow import N_TEST, N_TRAIN, edit_config, planned, snakemake

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.decoding import network

FEATURES = ("vdvae", "clip_text", "clip_vision")
TINY = {
    "hidden": 8,
    "blocks": 1,
    "epochs": 4,
    "samples": 16,
    "patience": 4,
    "batch_size": 8,
    "holdout": 0.4,
    "checkpoint_every": 1,
}
RECON = "results/sub01/variants/by_networks/recon"


def of_features(*rules):
    return {f"{rule}:{feature}" for rule in rules for feature in FEATURES}


AFTER_PREDICTION = {"decoder_stage1", "variant:by_networks"}
AFTER_TRAINING = of_features("learned_train", "learned_predict") | AFTER_PREDICTION


@pytest.fixture(scope="module")
def finished(finished, tmp_path_factory):
    """A checkout with a reconstruction of subject 1 by learned decoders that began with subject 3's; never changed."""
    checkout = shutil.copytree(finished, tmp_path_factory.mktemp("learned") / "checkout", copy_function=shutil.copy2)
    for folder in (checkout / "results/sub01").iterdir():
        if folder.is_dir() and folder.name not in ("nsd", "features"):
            shutil.rmtree(folder)
    write_tree(checkout / "toy/nsd", subject=3, sessions=2, n_train=N_TRAIN, n_test=N_TEST, formats=("nii.gz",))
    edit_config(checkout, "subjects", ["sub01", "sub03"])
    edit_config(checkout, "variants", {"by_networks": {"decoder": "learned"}, "by_ridge": {"text_weight": 0.2}})
    for key, value in TINY.items():
        edit_config(checkout, f"learned.{key}", value)
    assert planned(checkout, RECON) > of_features("learned_pretrain") | AFTER_TRAINING
    run = snakemake(checkout, "--cores", "2", RECON)
    assert run.returncode == 0, run.stderr
    return checkout


@pytest.fixture
def checkout(finished, tmp_path):
    """A copy to edit."""
    return shutil.copytree(finished, tmp_path / "moved", copy_function=shutil.copy2)


def test_artifacts(finished):
    results = finished / "results"
    betas = hdf5.load(results / "sub01/data/betas_test.h5")
    for feature in FEATURES:
        train = hdf5.load(results / f"sub01/features/{feature}_train.h5")
        predicted = hdf5.load(results / f"sub01/learned/{feature}_test.h5")
        assert predicted.values.shape == (N_TEST, *train.values.shape[1:])
        assert predicted.values.dtype == "float32"
        assert predicted.nsd_id.tolist() == betas.nsd_id.tolist()
        shared, own = results / f"shared/learned/{feature}/without_sub01", results / f"sub01/learned/{feature}"
        for folder, subject in ((shared, "sub03"), (own, "sub01")):
            made = {path.name for path in folder.iterdir()} - {".receipts"}
            assert made == {"weights.safetensors", "curve.csv", "curve.svg"}
            assert list(network.load(folder / "weights.safetensors").decoder.voxels) == [subject]
    ids, images = image_files.read_folder(
        results / "sub01/variants/by_networks/recon", f"{results.parent / RECON}_manifest.tsv"
    )
    assert ids.tolist() == betas.nsd_id.tolist()
    assert images.shape == (N_TEST, 16, 16, 3)
    assert not (results / "sub01/ridge").exists()
    assert not (results / "sub03/ridge").exists()


def test_second_run_does_nothing_and_a_whole_run_knows_no_network(finished):
    assert planned(finished, RECON) == set()
    assert not {rule for rule in planned(finished) if rule.startswith("learned")}
    by_ridge = planned(finished, "results/sub01/variants/by_ridge/recon")
    assert by_ridge == {"ridge_kernel", "stage1", "variant:by_ridge"} | of_features("ridge")


def test_edited_key_reruns_what_depends_on_it(checkout):
    everything = of_features("learned_pretrain") | AFTER_TRAINING
    edit_config(checkout, "learned.checkpoint_every", 2)
    edit_config(checkout, "ridge.alpha.clip_text", 7.0)
    assert planned(checkout, RECON) == set()
    edit_config(checkout, "learned.rescale", "none")
    assert planned(checkout, RECON) == of_features("learned_predict") | AFTER_PREDICTION
    edit_config(checkout, "learned.pretrain", False)
    assert planned(checkout, RECON) == AFTER_TRAINING
    edit_config(checkout, "learned.pretrain", True)
    code = checkout / "brain_diffuser/decoding/losses.py"
    code.write_text(code.read_text().replace("MIXUP_SHARE = 0.15, 0.5", "MIXUP_SHARE = 0.15, 0.6"))
    assert planned(checkout, RECON) == everything


def test_one_subject_alone_is_trained_from_scratch(checkout):
    edit_config(checkout, "subjects", ["sub01"])
    target = "results/sub01/learned/clip_vision_test.h5"
    assert planned(checkout, target) == {"learned_train:clip_vision", "learned_predict:clip_vision"}
    before = hdf5.load(checkout / target).values
    run = snakemake(checkout, "--cores", "1", target)
    assert run.returncode == 0, run.stderr
    assert "learned.pretrain: there is no subject but sub01; skipped" in run.stderr
    assert abs(hdf5.load(checkout / target).values - before).max() > 0
    alone = snakemake(checkout, "--cores", "1", "results/shared/learned/vdvae/without_sub01/weights.safetensors", "-F")
    assert alone.returncode != 0
    sentence = (
        "rule learned_pretrain: there is no subject to learn from; name another one under subjects in config.yaml"
    )
    assert sentence in alone.stderr.splitlines()


def test_wrong_settings_stop_before_any_job(checkout):
    edit_config(checkout, "variants.by_networks.decoder", "linear")
    run = snakemake(checkout, "-n", RECON)
    assert 'config.yaml: variants.by_networks.decoder is "linear"; expected ridge or learned' in run.stderr
    edit_config(checkout, "variants.by_networks.decoder", "learned")
    edit_config(checkout, "learned.dropout", 1.0)
    run = snakemake(checkout, "-n", RECON)
    assert "config.yaml: learned.dropout is 1.0; expected a number at least 0 and less than 1" in run.stderr
    edit_config(checkout, "learned.dropout", 0.1)
    run = snakemake(checkout, "-n", "results/sub01/learned/clip_audio_test.h5")
    assert run.returncode != 0
    assert "results/sub01/learned/clip_audio_test.h5" in run.stdout + run.stderr
