"""The numbers of a run, their ranges, and the page that shows both."""

import h5py
import numpy as np
import pytest

from docs_tools import expected_ranges


def test_the_page_shows_every_range_and_a_number_inside():
    (shown,) = expected_ranges.MARKED.findall(expected_ranges.PAGE.read_text(encoding="utf-8"))
    cells = [line.strip("| ").split(" | ") for line in shown.strip().split("\n")[2:]]
    values = [float(row[2].replace(",", "")) for row in cells]
    assert f"\n{expected_ranges.table(values)}\n" == shown
    assert expected_ranges.outside(values) == []


def test_a_number_outside_is_named():
    values = [row.low for row in expected_ranges.EXPECTED]
    values[4] = 0.051
    (problem,) = expected_ranges.outside(values)
    assert problem.endswith("share of variance, median voxel is 0.05, expected 0.40 to 0.55")


def test_numbers_of_files(tmp_path):
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data/rois.h5", "w") as file:
        file["ncsnr"] = np.array([0.0, 1.0, 10.0])
        file["voxel"] = np.arange(3)
    named = {row.what: row for row in expected_ranges.EXPECTED}
    assert named["voxels"].measure(tmp_path) == 3
    (ceiling,) = (row for what, row in named.items() if what.startswith("noise ceiling"))
    assert ceiling.measure(tmp_path) == pytest.approx(0.75)  # 1 / (1 + 1 / 3)
    (tmp_path / "metrics").mkdir()
    rows = "images,metric,mean,shuffled\nrecon,ssim,0.5,0.1\nrecon,pix_corr,0.7,0.2\nstage1,pix_corr,0.6,0.3\n"
    (tmp_path / "metrics/scores.csv").write_text(rows, encoding="utf-8")
    of_recon = [
        row.measure(tmp_path) for row in expected_ranges.EXPECTED if (row.stage, row.what) == ("recon", "PixCorr")
    ]
    assert of_recon == [0.7]
