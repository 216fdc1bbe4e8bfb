"""Sheets, tables and plots of regions."""

import xml.etree.ElementTree

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.regions import figures, lesions, summary


@pytest.fixture
def folders(tmp_path):
    """Optimal images (2 each) of rest, faces and random voxels, stage-1 images, and a strip of one stimulus."""
    rng = np.random.default_rng(0)

    def write(name, files):
        made = [(each, rng.integers(0, 256, (16, 16, 3), np.uint8)) for each in range(len(files))]
        image_files.write_folder(tmp_path / name, tmp_path / f"{name}.tsv", made, files)
        return tmp_path / name, tmp_path / f"{name}.tsv"

    hdf5.save(tmp_path / "stimuli.h5", rng.integers(0, 256, (2, 20, 20, 3), np.uint8), np.array([7, 9]), flatten=False)
    names = ("rest", "faces", "random_faces")
    return (
        write("optimal", [f"{name}_{number}.png" for name in names for number in (0, 1)]),
        write("stage1", [f"{name}.png" for name in names]),
        write("perturbed", ["faces_nsd00009_-2.png", "faces_nsd00009_+0.png", "faces_nsd00009_+1.5.png"]),
        tmp_path / "stimuli.h5",
    )


def test_sheets(folders):
    optimal, stage1, perturbed, stimuli = folders
    plain, equalised = (figures.optimal_sheet(optimal, stage1, each) for each in (False, True))
    assert plain.size == equalised.size
    assert not np.array_equal(np.asarray(plain), np.asarray(equalised))
    assert figures.perturbed_sheet(perturbed, stimuli).width > 4 * 128
    _, made = image_files.read_folder(*optimal)
    flat = figures._with_equalized_histogram(made[0])
    assert np.abs(np.histogram(flat, 8, (0, 256))[0] / flat.size - 1 / 8).max() < 0.05


def test_probability_that_images_show_a_category():
    rows = [
        {"image": "faces_0.png", "face": "0.9", "none": "0.1"},
        {"image": "faces_1.png", "face": "0.4", "none": "0.6"},
        {"image": "ecc_1_0.png", "face": "0.1", "none": "0.9"},
    ]
    assert summary.mean_probabilities(rows) == [
        {"region": "faces", "images": 2, "face": 0.65, "none": 0.35},
        {"region": "ecc_1", "images": 1, "face": 0.1, "none": 0.9},
    ]


def test_averages_and_their_standard_errors():
    tables = [[{"region": "V1", "voxels": "10", "drop": "1.0"}], [{"region": "V1", "voxels": "14", "drop": "2.0"}]]
    (row,) = summary.average_rows(tables, ["region"])
    assert row == {
        "region": "V1", "subjects": 2, "voxels": 12.0, "voxels_sem": 2.0, "drop": 1.5, "drop_sem": 0.5,
    }  # fmt: skip
    (row,) = summary.average_rows([[{"region": "V1", "drop": ""}]], ["region"])
    assert row == {"region": "V1", "subjects": 1, "drop": "", "drop_sem": ""}


def test_weights_by_region():
    masks = {"V1": np.array([True, True, False]), "faces": np.array([False, False, True])}
    percentiles = {"vdvae": np.array([100.0, 50, 10]), "clip_vision": np.array([20.0, 40, 90])}
    first, second = summary.weight_rows(masks, percentiles)
    assert first == {"region": "V1", "voxels": 2, "vdvae": 75, "clip_vision": 30, "clip_vision_minus_vdvae": -45}
    assert second["clip_vision_minus_vdvae"] == 80


def test_plots_are_whole():
    spread = dict.fromkeys(("_random", "_random_low", "_random_high"), "0.2")
    decoding = {"feature": "vdvae", "region": "V1", "voxels": "3", "alone": "0.5", "without": "0.4"}
    decoding |= {f"{key}{word}": value for key in ("alone", "without") for word, value in spread.items()}
    everything = decoding | {"region": "all", "without": "", "alone_random_low": "", "alone_random_high": ""}
    lesion = {"feature": "vdvae", "category": "face", "region": "V1", "drop": "1.2", "drop_random": "0.2"}
    weights = {"region": "V1", "voxels": "3", "vdvae": "1", "clip_text_minus_vdvae": "4"}
    for text in (
        figures.plot_decoding([everything, decoding]),
        figures.plot_lesions([lesion, lesion | {"region": "V2", "drop_random": ""}]),
        figures.plot_lesions([]),
        figures.plot_weights([weights]),
        figures.plot_weights([weights | {"clip_text_minus_vdvae_sem": "0.3"}]),
    ):
        assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
    assert "no category was shown often enough" in figures.plot_lesions([])
    assert set(lesions.COLUMNS["decoding"]) >= set(decoding) - {"feature"}
