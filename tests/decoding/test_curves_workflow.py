"""Chosen penalties, bottleneck and scaling curves in the workflow: what runs for them, and that nothing else does."""

import pytest
import yaml
from toy_workflow import snakemake

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.decoding import alpha_table
from brain_diffuser.evaluation import bottleneck_curve, scaling_curves

pytestmark = pytest.mark.workflow

RIDGE, STAGE1 = "results/sub01/ridge/vdvae_test.h5", "results/sub01/rank_2/stage1"
SECTIONS = {
    "bottleneck": {"ranks": [1, 2, 5]},
    "scaling": {"stimuli": [0.5], "voxels": [0.5], "sessions": [0.5], "repeats": [1], "draws": 1},
}


def test_curves_are_made_beside_finished_results_and_auto_before_the_ridge(checkout):
    path, before = checkout / "config.yaml", yaml.safe_load((checkout / "config.yaml").read_text())
    config = before | SECTIONS | {"variants": before["variants"] | {"narrow": {"rank": 2}}}
    config["ridge"] = before["ridge"] | {"alpha": before["ridge"]["alpha"] | {"vdvae": "auto"}}
    path.write_text(yaml.safe_dump(config))
    targets = ["results/sub01/bottleneck", "results/sub01/scaling", STAGE1, RIDGE]
    planned = snakemake(checkout, "-n", "--", "results/sub01/variants/narrow/recon").stdout
    assert "results/sub01/rank_2/clip_vision_test.h5" in planned
    run = snakemake(checkout, "--cores", "2", "--", *targets)
    assert run.returncode == 0, run.stderr
    alpha = alpha_table.chosen(checkout / "results/sub01/ridge/alpha_vdvae.csv")
    with hdf5.reading(checkout / RIDGE) as (values, _):
        assert f'"alpha": {alpha}' in str(values.attrs["made_by"])
    results = checkout / "results/sub01"
    rows = tables.read_csv(results / "bottleneck/scores.csv", bottleneck_curve.COLUMNS)
    assert {row["rank"] for row in rows} == {"1", "2", "5", ""}
    rows = tables.read_csv(results / "scaling/scores.csv", scaling_curves.COLUMNS)
    assert {row["axis"] for row in rows} == {"all", *scaling_curves.AXES}
    assert "Nothing to be done" in snakemake(checkout, "-n", "--", *targets).stdout

    table = checkout / "results/sub01/ridge/alpha_vdvae.csv"
    table.write_text(table.read_text() + "damaged\n")
    again = snakemake(checkout, "-n", "--", RIDGE)
    assert again.returncode == 0, again.stderr
    assert "rule ridge_alpha:" in again.stdout

    path.write_text(yaml.safe_dump(before))
    assert "Nothing to be done" in snakemake(checkout, "-n", "--", "results/sub01/ridge/clip_text_test.h5").stdout
