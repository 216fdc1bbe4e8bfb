"""docs/extend.md, followed to the letter: one file and one line in the registry add a dataset."""

import numpy as np
import pytest
import yaml
from toy_workflow import example, planned, snakemake

from brain_diffuser.artifacts import hdf5, image_files

N_TRAIN, N_TEST, N_VOXELS, SIDE = 10, 3, 12, 64
CONFIG = ["--configfile", "mine.yaml", "--"]


def write_data(path):
    """Every stimulus twice, in random order."""
    rng = np.random.default_rng(0)
    n_stimuli = N_TRAIN + N_TEST
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli, dtype=np.int32), 2))
    coarse = rng.integers(0, 256, (n_stimuli, 8, 8, 3), np.uint8)
    arrays = {
        "stimulus": stimulus,
        "is_test": np.arange(n_stimuli) >= N_TRAIN,
        "betas": rng.normal(size=(len(stimulus), N_VOXELS)).astype(np.float32),
        "images": coarse.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2),
    }
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)
    return arrays


def add_adapter(checkout):
    """The module and the line of the page."""
    (checkout / "brain_diffuser/data/onefile.py").write_text(example("extend.md", "A dataset", "python"))
    registry = checkout / "brain_diffuser/data/registry.py"
    text = registry.read_text()
    assert "nsd, rehearsal\n" in text
    text = text.replace("nsd, rehearsal\n", "nsd, onefile, rehearsal\n")
    registry.write_text(
        text.replace('    "nsd": nsd.ADAPTER,\n', '    "nsd": nsd.ADAPTER,\n    "onefile": onefile.ADAPTER,\n')
    )


def write_config(checkout):
    """The dataset of the page, with the toy's networks."""
    config = yaml.safe_load(example("extend.md", "A dataset", "yaml"))
    toy = yaml.safe_load((checkout / "config.yaml").read_text())["datasets"]["toy"]
    config["datasets"]["mine"] |= {
        key: path for key, path in toy.items() if key not in ("simulated", "nsd", "captions")
    }
    config |= {"dataset": "mine", "results": "results_mine", "subjects": ["p1"], "recon": {"text_weight": 0.0}}
    config |= {"roi": yaml.safe_load((checkout / "config.custom.yaml").read_text())["roi"]}
    (checkout / "mine.yaml").write_text(yaml.safe_dump(config))


def test_a_new_dataset_is_one_file_and_one_line(checkout):
    arrays = write_data(checkout / "data/mine/p1.npz")
    add_adapter(checkout)
    write_config(checkout)
    assert planned(checkout) == set(), "an adapter reran jobs of another dataset"
    run = snakemake(checkout, "--cores", "2", *CONFIG, "results_mine/p1/recon")
    assert run.returncode == 0, run.stderr
    results = checkout / "results_mine/p1"
    test = hdf5.load(results / "data/betas_test.h5")
    assert sorted(test.nsd_id.tolist()) == list(range(N_TRAIN, N_TRAIN + N_TEST))
    means = [arrays["betas"][arrays["stimulus"] == number].mean(0) for number in test.nsd_id]
    np.testing.assert_allclose(test.values, means, rtol=1e-6)
    ids, images = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    assert ids.tolist() == test.nsd_id.tolist()
    assert len(images) == N_TEST
    assert {path.name for path in (results / "stage1").glob("*.png")} == {
        image_files.file_name("stim", number) for number in ids
    }
    again = snakemake(checkout, "-n", *CONFIG, "results_mine/p1/recon")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert planned(checkout) == set()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"adapter": "onefil"}, "datasets.mine.adapter is onefil; expected nsd, "),
        ({"settings": {"file": "no.npz"}}, "datasets.mine.settings.file leads to no.npz, which does not exist"),
        ({"nsd": "toy/nsd"}, "datasets.mine has nsd and settings; the adapter onefile reads settings, so give that"),
    ],
)
def test_what_is_wrong_with_it_is_said_before_any_job(checkout, change, sentence):
    write_data(checkout / "data/mine/p1.npz")
    add_adapter(checkout)
    write_config(checkout)
    config = yaml.safe_load((checkout / "mine.yaml").read_text())
    config["datasets"]["mine"] |= change
    (checkout / "mine.yaml").write_text(yaml.safe_dump(config))
    run = snakemake(checkout, "-n", *CONFIG, "results_mine/p1/data/betas_test.h5")
    assert run.returncode != 0
    assert sentence in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
