"""The command that scores images which others made: the workflow's numbers, with and without a dataset."""

import shutil

import pytest
import yaml

from brain_diffuser.artifacts import tables
from brain_diffuser.workflow import score_images

QUICK = {"significance": {"pairings": 19, "permutations": 99}}


@pytest.fixture
def at_finished(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


def quick(folder, **settings):
    """A file of settings with few permutations, and one protocol."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(QUICK | settings))
    return "--configfile", path, "--protocol", "brain_diffuser"


def run(*arguments):
    return score_images.main([*map(str, arguments)])


def test_scores_are_those_of_the_workflows_own_table(at_finished, tmp_path, capsys):
    out = tmp_path / "scores"
    assert run("--images", "results/sub01/recon", "--out", out, *quick(tmp_path)) == 0, capsys.readouterr().err
    own = [row for row in tables.read_csv("results/sub01/metrics/scores.csv") if row["images"] == "recon"]
    found = tables.read_csv(out / "scores.csv")
    assert [row["metric"] for row in found] == [row["metric"] for row in own]
    for mine, its in zip(found, own, strict=True):
        assert mine.keys() == its.keys()
        for key, value in its.items():
            is_number = key in ("mean", "low", "high", "shuffled", "shuffled_low", "shuffled_high")
            assert (float(mine[key]) == pytest.approx(float(value), abs=2e-6)) if is_number else mine[key] == value
    per_image = tables.read_csv(out / "per_image.csv")
    expected = tables.read_csv("results/sub01/metrics/per_image_recon.csv")
    assert [row["stimulus"] for row in per_image] == [row["nsd_id"] for row in expected]
    text = (out / "scores.md").read_text(encoding="utf-8")
    assert "8 images were compared with their stimuli, of 8 test stimuli in results/sub01/data/stimuli_test.h5." in text
    assert "| CLIP | stimulus among stimuli | top 1 | 8 | 8 |" in text
    assert {path.name for path in out.iterdir()} == set(score_images.WRITTEN)


def test_a_lab_without_the_dataset_scores_a_folder_against_a_folder(at_finished, tmp_path, capsys):
    """Other names, two images fewer, and a configuration whose dataset is nowhere."""
    config = yaml.safe_load((at_finished / "config.yaml").read_text())
    config["datasets"]["toy"]["nsd"] = "nowhere"
    (tmp_path / "mine").mkdir()
    recon = sorted((at_finished / "results/sub01/recon").glob("*.png"))
    for path in recon[2:]:
        shutil.copy(path, tmp_path / "mine" / f"{int(path.stem.removeprefix('nsd'))}.png")
    options = quick(tmp_path, datasets=config["datasets"], results="none")
    options = ("--stimuli", "results/sub01/recon", *options, "--networks")
    assert run("--images", tmp_path / "mine", *options) == 0, capsys.readouterr().err
    assert "2 of 8 test stimuli have no image in" in capsys.readouterr().err
    rows = tables.read_csv(tmp_path / "mine_scores/scores.csv")
    assert {row["metric"]: (row["n"], float(row["mean"])) for row in rows} == {"pix_corr": ("6", 1), "ssim": ("6", 1)}
    assert tables.read_csv(tmp_path / "mine_scores/identification.csv") == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--subject", "sub09"), "--subject is sub09; expected one of the configuration's, sub01"),
        (("--networks", "swaf"), "--networks has swaf; expected some of alexnet"),
        (("--networks", "swav"), "evaluation network swav needs"),
        (("--out", "results/sub01"), "results/sub01 has .receipts, which this command did not write"),
        (
            ("--stimuli", "results/sub01/data/stimuli.h5"),
            "--stimuli is results/sub01/data/stimuli.h5, which does not exist; name a stimuli_test.h5 or a folder",
        ),
        (
            ("--config", "results=elsewhere"),
            "make it with snakemake --cores all -- elsewhere/sub01/data/stimuli_test.h5",
        ),
        (("--config", "metrics={bootstrap: none}"), "metrics.bootstrap"),
    ],
)
def test_what_cannot_be_is_one_sentence(at_finished, capsys, arguments, sentence):
    assert run("--images", "results/sub01/recon", *arguments) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
