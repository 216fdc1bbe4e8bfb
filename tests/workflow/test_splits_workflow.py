"""Further splits in the workflow: folders of their own, features encoded once, and nothing finished made again."""

import hashlib
import re
import shutil

import h5py
import numpy as np
import pytest
import yaml
from toy_workflow import N_TEST, N_TRAIN, snakemake

from brain_diffuser.artifacts import tables
from brain_diffuser.data import stimulus_table

pytestmark = pytest.mark.workflow

SPLITS = {
    "far": {"kind": "far", "share": 0.25},
    "cluster": {"kind": "cluster", "clusters": 4, "only": [1], "images": False},
    "own": {"kind": "column", "file": "own_{label}.tsv", "column": "mine", "images": False},
}
FOLDERS = ("sub01_far", "sub01_cluster_1", "sub01_own")


def edit(checkout, **changes):
    path = checkout / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))


def rules_of(run):
    return {line.split()[1].rstrip(":") for line in run.stderr.splitlines() if re.match(r"(local)?rule \w+:", line)}


def ids(folder, split):
    return stimulus_table.read(folder / "data/stimuli.tsv")[split].nsd_id.tolist()


@pytest.fixture(scope="module")
def divided(finished, tmp_path_factory):
    """A finished run with three further splits, and what their run said."""
    checkout = tmp_path_factory.mktemp("splits") / "checkout"
    shutil.copytree(finished, checkout, copy_function=shutil.copy2)
    everyone = sorted(ids(checkout / "results/sub01", "train") + ids(checkout / "results/sub01", "test"))
    lines = [
        f"{number}\t{'test' if place < 5 else 'train' if place < 20 else ''}" for place, number in enumerate(everyone)
    ]
    (checkout / "own_01.tsv").write_text("\n".join(["stimulus\tmine", *lines]))
    edit(checkout, splits=SPLITS)
    run = snakemake(checkout, "--cores", "2", "--quiet=host")
    assert run.returncode == 0, run.stderr
    return checkout, run


def test_only_what_depends_on_a_split_runs(divided):
    _, run = divided
    assert {"split_table", "split_features", "ridge", "recon", "metrics"} <= rules_of(run)
    assert rules_of(run) <= {
        *("split_table", "split_stimuli", "split_features", "betas", "captions", "regions", "ridge_kernel", "ridge"),
        *("stage1_shard", "stage1", "recon_shard", "recon", "vdvae_reference_shard", "vdvae_reference", "mean_image"),
        *("autoencoder_reference_shard", "autoencoder_reference", "pixels", "perceptual_scores_shard"),
        *("perceptual_scores", "metrics", "contact_sheet", "generalisation", "report", "all"),
    }


def test_every_split_divides_the_same_stimuli(divided):
    results = divided[0] / "results"
    everyone = set(ids(results / "sub01", "train") + ids(results / "sub01", "test"))
    for folder in FOLDERS:
        train, test = (set(ids(results / folder, split)) for split in ("train", "test"))
        assert not train & test
        assert train | test <= everyone
        assert (train | test == everyone) == (folder != "sub01_own")
    assert len(ids(results / "sub01_far", "test")) == (N_TRAIN + N_TEST) // 4
    assert (len(ids(results / "sub01_own", "test")), len(ids(results / "sub01_own", "train"))) == (5, 15)


def rows_of(*paths):
    """The rows of arrays by the ids of their stimuli."""
    known = {}
    for path in paths:
        with h5py.File(path) as file:
            known |= dict(zip(file["nsd_id"][:].tolist(), file["values"][:], strict=True))
    return known


def test_arrays_have_the_rows_of_the_subject_in_the_order_of_the_split(divided):
    results = divided[0] / "results"
    both = ("train", "test")
    features = rows_of(*(results / f"sub01/features/clip_vision_{split}.h5" for split in both))
    betas = rows_of(*(results / f"sub01/data/betas_{split}.h5" for split in both))
    for folder in FOLDERS:
        for known, name, split in (
            (features, "features/clip_vision_train.h5", "train"),
            *((betas, f"data/betas_{split}.h5", split) for split in both),
        ):
            with h5py.File(results / folder / name) as file:
                numbers = file["nsd_id"][:].tolist()
                assert numbers == ids(results / folder, split)
                assert (file["values"][:] == np.stack([known[number] for number in numbers])).all()


def test_images_are_made_where_they_are_asked_for(divided):
    results = divided[0] / "results"
    assert len(list((results / "sub01_far/recon").glob("*.png"))) == len(ids(results / "sub01_far", "test"))
    assert (results / "sub01_far/metrics/scores.csv").exists()
    assert not (results / "sub01_own/recon").exists()


def test_the_table_of_generalisation_has_every_split(divided):
    results = divided[0] / "results"
    rows = tables.read_csv(results / "sub01/generalisation/scores.csv")
    names = {"default": "sub01", "far": "sub01_far", "cluster_1": "sub01_cluster_1", "own": "sub01_own"}
    assert {row["split"] for row in rows} == names.keys()
    for name, folder in names.items():
        (whole,) = [
            row
            for row in rows
            if (row["split"], row["of"], row["feature"], row["decoder"], row["candidates"])
            == (name, "all", "vdvae", "ridge", "all stimuli")
        ]
        assert int(whole["n"]) == len(ids(results / folder, "test"))
    digest = hashlib.sha256((divided[0] / "own_01.tsv").read_bytes()).hexdigest()
    table = (results / "sub01/generalisation/scores.md").read_text(encoding="utf-8")
    assert f"NSD, split own_01.tsv (sha256 {digest[:12]}), sub01" in table
    page = (divided[0] / "results/report.html").read_text(encoding="utf-8")
    assert '<section id="generalisation"' in page


def test_a_finished_run_plans_nothing_and_an_edit_its_own_split(divided):
    checkout, _ = divided
    assert "Nothing to be done" in snakemake(checkout, "-n").stdout
    planned = snakemake(checkout, "-n", "results/sub01_far/roi", "results/sub01_far/consistency")
    assert planned.returncode == 0, planned.stderr
    table = (checkout / "own_01.tsv").read_text()
    try:
        lines = table.splitlines()
        (checkout / "own_01.tsv").write_text("\n".join([lines[0], lines[1].replace("test", "train"), *lines[2:]]))
        again = snakemake(checkout, "-n", "--quiet=host")
        made = set(re.findall(r"results/(sub01\w*)/", again.stdout)) - {"sub01"}
        assert "rule split_table" in again.stdout
        outputs = {
            path
            for line in again.stdout.splitlines()
            if line.strip().startswith("output:")
            for path in re.findall(r"results/(sub01\w*)/", line)
        }
        assert outputs == {"sub01_own", "sub01"}, made
    finally:
        (checkout / "own_01.tsv").write_text(table)
    edit(checkout, splits={})
    assert "Nothing to be done" in snakemake(checkout, "-n", "results/sub01/metrics").stdout
    edit(checkout, splits=SPLITS)


@pytest.mark.parametrize(
    ("splits", "target", "expected"),
    [
        ({"Far": {"kind": "far"}}, "", "splits has Far; expected a name of small letters"),
        ({"far": {"kind": "distant"}}, "", "splits.far.kind"),
        ({"far": {"kind": "far", "share": 0.9}}, "", "splits.far.share"),
        ({"far": {"kind": "far", "folds": 2}}, "", "splits.far has folds"),
        ({"a": {"kind": "random"}, "a_0": {"kind": "far"}}, "", "splits gives two splits the name a_0"),
        (
            {"it": {"kind": "column", "file": "none.tsv", "column": "x"}},
            "",
            "splits.it.file leads to none.tsv, which does not",
        ),
        ({"far": {"kind": "far"}}, "results/sub01_fra/recon", "sub01_fra is the folder of no split of config.yaml"),
        ({"far": {"kind": "far"}}, "results/sub01_far/recon/nsd00003.png", "are made of the dataset's own split alone"),
        ({"far": {"kind": "far", "feature": "clip_visoin"}}, "", "splits.far.feature"),
    ],
)
def test_a_wrong_split_is_one_sentence(finished, tmp_path, splits, target, expected):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"splits": splits}))
    found = snakemake(finished, "-n", "--configfile", str(config), "--", *([target] if target else []))
    assert found.returncode == 1
    assert expected in found.stderr.splitlines()[-1]
