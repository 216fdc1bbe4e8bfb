"""Forms that real data come in: NaN voxels of GLMsingle, masks of four dimensions, headers that disagree."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from toy_lab import AFFINE, SHAPE, write_lab

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import averages, custom, custom_checks, custom_files, nifti, rois

TURNED = np.diag([-2.0, 2, 2, 1])
TURNED[0, 3] = 2 * (SHAPE[0] - 1)


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path)


def problems(lab, *betas, **checks):
    files = custom_files.SubjectFiles("sub01", lab.trials, betas or (lab.betas,), lab.mask, {"V1": lab.roi})
    return list(custom_checks.problems([files], lab.stimuli, lab.captions, custom_checks.Checks(**checks)))


class Files:
    """Paths as texts, under their names."""

    def __init__(self, **paths):
        for name, path in paths.items():
            setattr(self, name, [str(each) for each in path] if isinstance(path, list | tuple) else str(path))


def write_betas(lab, *paths, zscore="none", constant_voxels="drop"):
    """Run the stages design and betas; returns the betas of both splits and the voxels."""
    folder = lab.root / "out"
    names = {"stimuli": "stimuli.tsv", "train": "a.h5", "test": "b.h5", "rois": "rois.h5"}
    outputs = Files(tables=[folder / "names.tsv"], **{key: folder / name for key, name in names.items()})
    custom.write_design(Files(trials=[lab.trials]), outputs, {"folder": str(lab.stimuli)})
    inputs = Files(stimuli=outputs.stimuli, trials=[lab.trials], betas=paths or [lab.betas], mask=[lab.mask])
    custom.write_betas(inputs, outputs, {"nsd.constant_voxels": constant_voxels, "zscore": zscore})
    with hdf5.opening(outputs.rois) as file:
        voxel = np.asarray(file["voxel"])
    return *(hdf5.load(path).values for path in (outputs.train, outputs.test)), voxel


def with_nan(lab, trials=slice(None)):
    """One voxel, of the mask's, is NaN."""
    volumes = lab.volumes().copy()
    volumes[0, 0, 0, trials] = np.nan
    lab.write_volumes(volumes)


def second_session(lab):
    return np.array([row["session"] == "02" for row in lab.rows()])


@pytest.mark.parametrize("zscore", ["none", "session"])
@pytest.mark.parametrize("where", ["everywhere", "in a session"])
def test_voxels_that_glmsingle_left_out_are_named_or_dropped(lab, zscore, where):
    whole = write_betas(lab, zscore=zscore)
    with_nan(lab, slice(None) if where == "everywhere" else second_session(lab))
    (sentence,) = problems(lab, zscore=zscore)
    assert (
        "1 of 13 voxels are NaN in every trial of a session, as GLMsingle leaves voxels that it cannot fit" in sentence
    )
    assert "the first is voxel (0, 0, 0) in session" in sentence
    assert sentence.endswith("correct the mask, or set nsd.constant_voxels: drop")
    assert problems(lab, zscore=zscore, constant_voxels="drop") == []
    for before, after in zip(whole, write_betas(lab, zscore=zscore), strict=True):
        assert np.array_equal(before[..., 1:], after)
    with pytest.raises(
        ValueError, match=r"selects 1 of 13 voxels .* or were not measured \(NaN\); the first is column 0"
    ):
        write_betas(lab, zscore=zscore, constant_voxels="error")


def test_a_voxel_that_lacks_test_stimuli_alone_is_dropped(lab):
    mask = nifti.read_mask(lab.mask)
    values = np.random.default_rng(0).normal(size=(9, int(mask.selected.sum()))).astype(np.float32)
    test = values[:3].copy()
    test[1, 4] = np.nan
    rows = {"train": hdf5.StimulusArray(values, np.arange(9)), "test": hdf5.StimulusArray(test, np.arange(3))}
    kept, smaller = averages.handle_constant_voxels(rows, mask, "drop")
    assert np.array_equal(kept["train"].values, np.delete(values, 4, axis=1))
    assert smaller.selected.sum() == mask.selected.sum() - 1


@pytest.mark.parametrize("trials", [[3], [0, 1, 2], [24], range(8)])
def test_voxels_that_are_nan_in_some_trials_are_named_or_dropped_everywhere(lab, trials, caplog):
    whole = write_betas(lab)
    with_nan(lab, list(trials))
    expected = [trial for trial in trials if trial != 25]
    (sentence,) = problems(lab)
    assert (
        f"has {len(expected)} values inside the mask that are no number, the first nan in trial {trials[0]} ("
        in sentence
    )
    fix = "voxel (0, 0, 0); correct the betas, or take these voxels out of the mask, as nsd.constant_voxels: drop does"
    assert fix in sentence
    assert problems(lab, constant_voxels="drop") == []
    for before, after in zip(whole, write_betas(lab), strict=True):
        assert np.array_equal(before[..., 1:], after)
    assert caplog.text.count("selects 1 of 13 voxels") == 1


def test_infinite_voxels_are_never_dropped(lab):
    volumes = lab.volumes().copy()
    volumes[0, 0, 0] = np.inf
    lab.write_volumes(volumes)
    (sentence,) = problems(lab, constant_voxels="drop")
    assert (
        "26 values inside the mask that are no number, the first inf in trial 0 (from 0), voxel (0, 0, 0)" in sentence
    )


def test_numbers_too_large_for_float32_are_said_to_be_infinite(lab):
    volumes = lab.volumes().astype(np.float64)
    volumes[0, 0, 0, 4] = 1e300
    lab.write_volumes(volumes)
    (sentence,) = problems(lab)
    assert "the first inf in trial 4 (from 0)" in sentence


def test_a_mask_without_any_measured_voxel(lab):
    volumes = lab.volumes().copy()
    volumes[..., :] = np.arange(volumes[..., 0].size, dtype=np.float32).reshape(*SHAPE, 1)
    lab.write_volumes(volumes)
    (sentence,) = problems(lab, constant_voxels="drop")
    assert "every voxel of the mask is constant, or NaN in a trial; expected betas inside the mask" in sentence


@pytest.mark.parametrize("extra", [(1,), (1, 1), (1, 1, 1)])
def test_masks_with_axes_of_length_1(lab, extra):
    before = write_betas(lab)
    for path in (lab.mask, lab.roi):
        volume = np.asarray(nib.load(path).dataobj)
        nib.Nifti1Image(volume.reshape(*SHAPE, *extra), AFFINE).to_filename(path)
    assert problems(lab) == []
    for old, new in zip(before, write_betas(lab), strict=True):
        assert np.array_equal(old, new)
    nib.Nifti1Image(np.ones((*SHAPE, 2), np.uint8), AFFINE).to_filename(lab.mask)
    assert any("has shape (4, 3, 2, 2); expected a volume of (x, y, z)" in each for each in problems(lab))


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([2.0, 2, 2.5, 1]), AFFINE + np.eye(4, k=3) * 30])
def test_affines_that_differ_have_a_way_out(lab, affine):
    before = write_betas(lab)
    lab.write_volumes(lab.volumes(), affine)
    (sentence,) = problems(lab)
    assert "have different affines (voxel 0 0 0 lies at" in sentence
    assert (
        "so resample the mask to the grid of the betas, or, if one header is wrong and both are on one grid, set cus"
        in (sentence)
    )
    assert problems(lab, check_affine=False) == []
    for old, new in zip(before, write_betas(lab), strict=True):
        assert np.array_equal(old, new)


def test_axes_that_run_the_other_way_are_to_be_turned(lab):
    lab.write_volumes(lab.volumes()[::-1], TURNED)
    (sentence,) = problems(lab)
    assert sentence.endswith("so turn both with nibabel.as_closest_canonical")
    assert "check_affine" not in sentence
    for path in (lab.betas, lab.mask):
        nib.as_closest_canonical(nib.load(path)).to_filename(path)
    assert problems(lab) == []


def test_shapes_are_compared_whatever_the_headers_say(lab):
    lab.write_volumes(lab.volumes()[:3])
    assert any("has volumes of (3, 3, 2)" in each for each in problems(lab, check_affine=False))


def test_a_region_may_lie_elsewhere_if_headers_are_not_compared(lab):
    write_betas(lab)
    volume = np.asarray(nib.load(lab.roi).dataobj)
    nib.Nifti1Image(volume, np.eye(4)).to_filename(lab.roi)
    written = lab.root / "out/rois.h5"
    config = SimpleNamespace(
        paths=SimpleNamespace(custom=SimpleNamespace(check_affine=True, rois={"V1": str(lab.roi)}))
    )
    with pytest.raises(ValueError, match="have different affines"):
        rois.masks(custom.regions(config), written, "sub01")
    config.paths.custom.check_affine = False
    assert rois.masks(custom.regions(config), written, "sub01")["V1"].sum() == 1
    nib.Nifti1Image(volume * 0, AFFINE).to_filename(lab.roi)
    with pytest.raises(ValueError, match=r"V1.nii.gz selects 0 voxels; expected at least 1 above 0. Correct it"):
        rois.masks(custom.regions(config), written, "sub01")
