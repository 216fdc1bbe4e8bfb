"""Score files: what is written is read, tables say what the numbers say."""

import csv
import json

import numpy as np
import pytest

from brain_diffuser.evaluation import registry, scores
from brain_diffuser.reporting import score_markdown, score_tables

IDS = np.array([7, 3, 9], np.int32)


def per_image(metric, kind, values, shuffled=(0.5, 0.4, 0.6)):
    return scores.PerImage(metric, kind, np.array(values, np.float64), np.array(shuffled, np.float64))


@pytest.fixture
def files(tmp_path):
    scores.write_per_image(tmp_path / "pixels.csv", IDS, [per_image("ssim", "similarity", [0.25, 0.5, 0.75])])
    network = [per_image("alexnet_2", "two_way", [1, 1, 0.5]), per_image("swav", "distance", [0.1, 0.2, 0.3])]
    scores.write_per_image(tmp_path / "network.csv", IDS, network)
    return [tmp_path / "pixels.csv", tmp_path / "network.csv"]


def test_what_is_written_is_read(files):
    found = scores.read_per_image(files)
    assert found.nsd_id.tolist() == IDS.tolist()
    assert [each.metric for each in found.metrics] == ["ssim", "alexnet_2", "swav"]
    np.testing.assert_array_equal(found.metrics[2].scores, [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(found.metrics[0].shuffled, [0.5, 0.4, 0.6])


def test_tables(files, tmp_path):
    found = {
        "stage1": scores.read_per_image(files[:1]),
        "recon": scores.read_per_image(files[:1]),
    }
    rows = scores.summarise(found, protocol="mindeye", n_resamples=500, seed=0)
    assert [row["images"] for row in rows] == ["stage1", "recon"]
    assert (rows[0]["mean"], rows[0]["n"], rows[0]["chance"], rows[0]["better"]) == (0.5, 3, "", "higher")
    assert 0.25 <= rows[0]["low"] < 0.5 < rows[0]["high"] <= 0.75
    folder = tmp_path / "metrics"
    folder.mkdir()
    scores.write_tables(folder, rows, found)
    assert json.loads((folder / "scores.json").read_text()) == rows
    with open(folder / "per_image_recon.csv", newline="") as stream:
        assert list(csv.DictReader(stream))[1] == {"nsd_id": "3", "ssim": "0.5"}
    metrics = registry.describe(["pixels"])
    table = score_markdown.markdown({"sub01": folder / "scores.csv"}, metrics, score_tables.DEMO)
    assert "DEMO: sub01" in table
    assert "| DEMO: reconstruction, shuffled | 0.500 |" in table


def test_kinds_have_their_chance_and_direction(files):
    rows = scores.summarise({"recon": scores.read_per_image(files)}, protocol="mindeye", n_resamples=9, seed=0)
    assert [(row["metric"], row["chance"], row["better"]) for row in rows] == [
        ("ssim", "", "higher"),
        ("alexnet_2", 0.5, "higher"),
        ("swav", "", "lower"),
    ]


def test_scores_of_other_images(files, tmp_path):
    scores.write_per_image(files[1], IDS[::-1], [per_image("alexnet_2", "two_way", [1, 1, 1])])
    with pytest.raises(ValueError, match="in another order; row 0 is nsd_id 7 in the first, 9 in the second"):
        scores.read_per_image(files)
    other = tmp_path / "other.csv"
    other.write_text("nsd_id,score\n7,0.5\n")
    with pytest.raises(ValueError, match=r"other\.csv has columns \['nsd_id', 'score'\]; expected"):
        scores.read_per_image([other])


def test_a_score_that_was_not_measured_enters_no_mean_and_is_stated(tmp_path):
    """A black reconstruction has no pixel correlation; it is not 0."""
    stimuli = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    images = stimuli.copy()
    images[1] = 0
    found = scores.of_pixels("pixels", stimuli, images, protocol="brain_diffuser", seed=0)
    scores.write_per_image(tmp_path / "pixels.csv", IDS, found)
    assert "3,pix_corr,similarity,," in (tmp_path / "pixels.csv").read_text()
    read = {"recon": scores.read_per_image([tmp_path / "pixels.csv"])}
    rows = scores.summarise(read, protocol="brain_diffuser", n_resamples=20, seed=0)
    assert [(row["metric"], row["n"]) for row in rows] == [("pix_corr", 2), ("ssim", 3)]
    assert (rows[0]["mean"], rows[0]["low"], rows[0]["high"]) == (1, 1, 1)
    assert np.isfinite(rows[0]["shuffled"])
    scores.write_tables(tmp_path, rows, read)
    with open(tmp_path / "per_image_recon.csv", newline="") as stream:
        assert [row["pix_corr"] for row in csv.DictReader(stream)] == ["1.0", "", "1.0"]
    table = score_markdown.markdown({"sub01": tmp_path / "scores.csv"}, registry.describe(["pixels"]), score_tables.NSD)
    assert "3 images; interval: 95 % bootstrap over images; measured of fewer images, as others do not vary: " in table
    assert "recon pix_corr of 2" in table


def test_a_metric_that_no_image_has_is_no_number(tmp_path, caplog):
    nothing = per_image("pix_corr", "similarity", [np.nan] * 3, [np.nan] * 3)
    scores.write_per_image(tmp_path / "pixels.csv", IDS, [nothing, per_image("ssim", "similarity", [0.1, 0.2, 0.3])])
    read = {"recon": scores.read_per_image([tmp_path / "pixels.csv"])}
    rows = scores.summarise(read, protocol="mindeye", n_resamples=20, seed=0)
    assert (rows[0]["n"], rows[0]["mean"], rows[0]["low"], rows[0]["shuffled"]) == (0, "", "", "")
    assert "recon, pix_corr: 3 of 3 images were not measured" in caplog.text
    scores.write_tables(tmp_path, rows, read)
    assert "NaN" not in (tmp_path / "scores.json").read_text()
    found = score_tables.read_scores(tmp_path / "scores.csv")
    assert [(score.metric, score.n) for score in found] == [("ssim", 3)]


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinite_score_is_refused(tmp_path, bad):
    with pytest.raises(ValueError, match=r"a\.csv: swav of nsd_id 9 is infinite; expected a finite score"):
        scores.write_per_image(tmp_path / "a.csv", IDS, [per_image("swav", "distance", [0.1, 0.2, bad])])
