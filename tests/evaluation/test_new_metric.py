"""One more metric, as docs/extend.md adds it: a new file and a line of the registry."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from toy_workflow import digests, edit_config, planned, snakemake

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import registry

EVALUATION = "brain_diffuser/evaluation"
SETS = ("stage1", "recon", "mean_image", "vdvae", "autoencoder")
FILE = '''"""Peak signal-to-noise ratio."""

import numpy as np

from brain_diffuser.evaluation import pixels


def psnr(stimuli, reconstructions, protocol):
    """Peak signal-to-noise ratio of each pair of images, dB."""
    pairs = pixels.comparable(stimuli, reconstructions, protocol)
    return np.array([-10 * np.log10(((a - b) ** 2).mean()) for a, b in pairs])
'''
LINE = '    "psnr": Scorer({"psnr": Metric("PSNR", "similarity", psnr.psnr)}),\n'


def test_one_more_metric_is_a_file_and_a_line(checkout):
    """It makes its own files, and again only the tables and the report that list it."""
    (checkout / EVALUATION / "psnr.py").write_text(FILE)
    registry = checkout / EVALUATION / "registry.py"
    text = registry.read_text().replace("evaluation import pixels\n", "evaluation import pixels, psnr\n")
    registry.write_text(text.replace("SCORERS = {\n", f"SCORERS = {{\n{LINE}"))
    assert planned(checkout) == set()  # nobody has named it yet
    edit_config(checkout, "metrics.networks", ["clip", "psnr"])
    assert planned(checkout) == {*(f"pixels:{images}" for images in SETS), "metrics", "report"}
    before = digests(checkout / "results")
    run = snakemake(checkout, "--cores", "2", "results/sub01/metrics", "results/report.html")
    assert run.returncode == 0, run.stderr
    results = checkout / "results/sub01"
    with open(results / "metrics/scores.csv", newline="") as stream:
        rows = {row["images"]: row for row in csv.DictReader(stream) if row["metric"] == "psnr"}
    assert set(rows) == set(SETS)
    _, images = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    stimuli = hdf5.load(results / "data/stimuli_test.h5").values
    resized = image_files.resize(images, stimuli.shape[1:3])
    errors = (((a / 255 - b / 255) ** 2).mean() for a, b in zip(stimuli, resized, strict=True))
    assert float(rows["recon"]["mean"]) == pytest.approx(np.mean([-10 * np.log10(error) for error in errors]), abs=1e-5)
    assert (rows["recon"]["better"], rows["recon"]["chance"]) == ("higher", "")
    assert re.search(r"PSNR \N{UPWARDS ARROW}", (checkout / "results/report.html").read_text(encoding="utf-8"))
    after = digests(checkout / "results")
    own = {str(results / f"perceptual_scores/{images}/psnr.csv") for images in SETS}
    histogram = str(checkout / "results/report_figures/sub01_scores_psnr.svg")
    assert after.keys() - before.keys() == own | {histogram}
    changed = {Path(path).relative_to(checkout / "results") for path in before if after[path] != before[path]}
    assert {path.parts[1] if len(path.parts) > 1 else path.name for path in changed} <= {
        *("metrics", "report.html", "resource_usage.csv")
    }


@pytest.mark.parametrize(("values", "found"), [(np.float64(1), "one number"), (np.zeros(3), r"\(3,\)")])
def test_a_metric_has_a_number_for_each_image(values, found):
    registry.check_scores({"psnr": np.zeros(8)}, np.zeros((8, 2, 2, 3)))
    with pytest.raises(ValueError, match=rf"^metric psnr returned {found} for 8 images; expected one number for each"):
        registry.check_scores({"psnr": values}, np.zeros((8, 2, 2, 3)))


def test_the_documentation_has_the_same_words():
    text = (Path(__file__).parents[2] / "docs/extend.md").read_text(encoding="utf-8")
    assert FILE in text
    assert LINE in text
