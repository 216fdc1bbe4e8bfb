"""Brain correlation where it is known: of equal betas, of shifted betas, of regions too small to have one."""

import csv
import xml.etree.ElementTree

import h5py
import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import brain_correlation, decoding_accuracy, retrieval, statistics

N_STIMULI, N_VOXELS, SEED = 12, 30, 3
IDS = np.arange(100, 100 + N_STIMULI)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def z_score(rng):
    """Mean and std of the voxels, whose means are far larger than what they tell of a stimulus."""
    return rng.normal(0, 50, N_VOXELS), rng.uniform(0.5, 3, N_VOXELS)


@pytest.fixture
def measured(rng, z_score):
    mean, std = z_score
    return rng.normal(size=(N_STIMULI, N_VOXELS)) * std + mean


@pytest.fixture
def regions():
    place = np.arange(N_VOXELS)
    return {"all": place >= 0, "V1": place < 9, "dot": place == 4}


@pytest.fixture
def compare(tmp_path, measured, z_score, regions):
    """Rows of regions by name."""

    def run(predicted, ids=IDS, **more):
        files = []
        for name, values, nsd_id in (("predicted", predicted, ids), ("measured", measured, IDS)):
            files.append(tmp_path / "encoding" / f"{name}.h5")
            hdf5.save(files[-1], values.astype(np.float32), nsd_id)
        options = {"n_resamples": 200, "seed": SEED} | more
        return {row["region"]: row for row in brain_correlation.compare(*files, regions, *z_score, **options)}

    return run


def test_equal_betas_correlate_fully(compare, measured):
    found = compare(measured)
    for region in ("all", "V1"):
        assert [found[region][key] for key in ("correlation", "low", "high", "voxelwise_median")] == [1, 1, 1, 1]
        assert abs(found[region]["shuffled"]) < 0.3
    assert {region: row["voxels"] for region, row in found.items()} == {"all": 30, "V1": 9, "dot": 1}


def test_a_prediction_of_the_next_in_the_cycle_is_the_controls(compare, measured):
    assigned = statistics.cyclic_derangement(N_STIMULI, SEED)
    turned = np.empty_like(measured)
    turned[assigned] = measured
    found = compare(turned)["all"]
    assert found["shuffled"] == 1
    assert found["correlation"] < 0.3


def test_correlations_are_numpys_of_z_scores(compare, rng, measured, z_score, regions):
    mean, std = z_score
    predicted = (measured + rng.normal(0, 2, measured.shape) * std).astype(np.float32)
    found = compare(predicted)
    z_predicted, z_measured = (predicted - mean) / std, (measured.astype(np.float32) - mean) / std
    of_stimuli = [np.corrcoef(a, b)[0, 1] for a, b in zip(z_predicted[:, :9], z_measured[:, :9], strict=True)]
    of_voxels = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T[:9], measured.T[:9], strict=True)]
    assert found["V1"]["correlation"] == pytest.approx(np.mean(of_stimuli), abs=1e-4)
    assert found["V1"]["voxelwise_median"] == pytest.approx(np.median(of_voxels), abs=1e-4)
    for region in ("all", "V1"):
        assert found[region]["low"] < found[region]["correlation"] < found[region]["high"]


def test_what_all_stimuli_share_counts_for_nothing(compare, z_score):
    """The mean of every voxel says much of the raw betas, and nothing once they are z-scored."""
    mean, std = z_score
    found = compare(np.tile(mean + std * np.linspace(-1, 1, N_VOXELS), (N_STIMULI, 1)))["all"]
    assert found["correlation"] == pytest.approx(found["shuffled"], abs=1e-4)
    assert abs(found["correlation"]) < 0.3
    assert np.isnan(found["voxelwise_median"])


def test_a_region_of_one_voxel_has_voxelwise_correlation_alone(compare, measured, tmp_path):
    row = compare(measured)["dot"]
    assert row["voxelwise_median"] == 1
    assert all(np.isnan(row[key]) for key in ("correlation", "low", "high", "shuffled"))
    brain_correlation.write(tmp_path, {"recon": [row]})
    with open(tmp_path / "brain_correlation.csv", newline="") as stream:
        assert list(csv.reader(stream)) == [
            list(brain_correlation.COLUMNS),
            ["recon", "dot", "1", "", "", "", "", "1.0"],
        ]


def test_the_plot_has_every_region_and_set_and_is_the_same_every_time(compare, rng, measured):
    found = {name: list(compare(measured + rng.normal(size=measured.shape)).values()) for name in ("stimulus", "recon")}
    text = brain_correlation.plot(found)
    assert text == brain_correlation.plot(found)
    words = {element.text for element in xml.etree.ElementTree.fromstring(text).iter() if element.tag.endswith("text")}
    assert {"all, 30", "V1, 9", "dot, 1", "stimulus", "recon", "shuffled"} < words


def test_betas_of_other_stimuli_are_refused(compare, measured):
    ids = IDS.copy()
    ids[5] = 7
    with pytest.raises(
        ValueError, match=r"predicted\.h5 has 12 stimuli, measured\.h5 has 12; nsd_id 7 is missing from"
    ):
        compare(measured, ids)


def test_betas_or_regions_of_other_voxels_are_refused(compare, measured, regions):
    with pytest.raises(ValueError, match=r"predicted\.h5 has 29 voxels, the train betas 30; expected the same"):
        compare(measured[:, 1:])
    regions["V1"] = regions["V1"][1:]
    with pytest.raises(ValueError, match="region V1 has 29 voxels, the train betas 30; expected the same"):
        compare(measured)


def test_a_pattern_that_does_not_vary_has_no_correlation_and_enters_no_mean(compare, measured, z_score):
    mean, _ = z_score
    predicted = measured.copy()
    predicted[3] = mean  # of z-scores 0 in all voxels
    found = compare(predicted)["all"]
    assert (found["correlation"], found["low"], found["high"]) == (1, 1, 1)
    found = compare(np.tile(mean, (N_STIMULI, 1)).astype(np.float32).astype(np.float64))["V1"]
    assert np.isnan(found["voxelwise_median"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_betas_that_are_not_finite_are_refused(compare, measured, tmp_path, bad):
    compare(measured)
    with h5py.File(tmp_path / "encoding/predicted.h5", "r+") as file:
        file["values"][4, 2] = bad
    paths = (tmp_path / "encoding/predicted.h5", tmp_path / "encoding/measured.h5")
    for read in (decoding_accuracy.column_correlations, hdf5.load_aligned, retrieval.cosine):
        with pytest.raises(ValueError, match=rf"predicted\.h5, nsd_id 104: {bad} in the file; .* Rerun its job"):
            read(*paths)
