"""Regions: what a definition selects, and the sentence for each that selects nothing or the wrong thing."""

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from brain_diffuser.data import rois as data_rois

SHAPE = (2, 3, 2)
AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])
VOXEL = np.array([0, 1, 2, 5, 7, 11])
ATLASES = ("prf-visualrois", "floc-faces")


@pytest.fixture
def rois(tmp_path):
    with h5py.File(tmp_path / "rois.h5", "w") as file:
        file["voxel"], file["shape"], file["affine"] = VOXEL, SHAPE, AFFINE
        file["prf-visualrois/labels"] = np.array([1, 2, 3, 0, -1, 1], np.int16)
        file["floc-faces/labels"] = np.array([0, 0, 2, 1, 1, 2], np.int16)
    return tmp_path / "rois.h5"


def selected(definitions, rois):
    return {name: np.flatnonzero(mask).tolist() for name, mask in data_rois.masks(definitions, rois, "sub01").items()}


def write_mask(path, selected=None, affine=AFFINE, shape=SHAPE):
    volume = np.zeros(shape, np.int16)
    volume.flat[selected if selected is not None else [0]] = 1
    nib.Nifti1Image(volume, affine).to_filename(path)
    return str(path)


def test_what_definitions_select(rois, tmp_path):
    write_mask(tmp_path / "sub01.nii.gz", [1, 4, 11])
    definitions = {
        "faces_in_V1": {"intersection": ["faces", "V1"]},  # regions may be named before they are defined
        "faces": ["OFA", "FFA-1"],
        "V1": ["V1v", "V1d"],
        "first_two": ["V1", "V2v"],
        "by_number": {"atlas": "floc-faces", "labels": [2]},
        "mine": {"mask": str(tmp_path / "{subject}.nii.gz")},
        "one": {"voxels": [[0, 2, 1]]},
    }
    assert not list(data_rois.problems(definitions, ATLASES, "roi.regions"))
    assert selected(definitions, rois) == {
        "all": [0, 1, 2, 3, 4, 5],
        "faces_in_V1": [5],
        "faces": [2, 3, 4, 5],
        "V1": [0, 1, 5],
        "first_two": [0, 1, 2, 5],
        "by_number": [2, 5],
        "mine": [1, 5],  # voxel 4 of the mask is not among the betas'
        "one": [3],
    }
    assert data_rois.mask_file(definitions["mine"], "sub03") == tmp_path / "sub03.nii.gz"


def test_files_keep_the_order(rois, tmp_path):
    masks = data_rois.masks({"z": ["V1v"], "a": ["OFA"]}, rois, "sub01")
    data_rois.save(tmp_path / "regions.h5", masks)
    loaded = data_rois.load(tmp_path / "regions.h5")
    assert list(loaded) == ["all", "z", "a"]
    assert all(np.array_equal(loaded[name], masks[name]) for name in masks)


def test_labels_are_unique_and_those_of_the_demo():
    names = [line.split("\t")[2] for line in data_rois.LABELS.read_text().splitlines()[1:]]
    assert len(names) == len(set(names)) == len(data_rois.atlas_labels())
    assert data_rois.atlas_labels()["hV4"] == ("prf-visualrois", 7)


@pytest.mark.parametrize(
    ("definitions", "sentence"),
    [
        ({"V1": ["V1v", "V1e"]}, "V1 names V1e, which is neither a region nor a label of an atlas; did you mean V1"),
        ({"p": ["PPA"]}, "p names PPA of the atlas floc-places; add it to nsd.rois, or drop PPA"),
        ({"p": {"atlas": "HCP_MMP1", "labels": [1]}}, "p names the atlas HCP_MMP1; add it to nsd.rois"),
        ({"V1v": ["V1d"]}, "has V1v, and V1v is there already"),
        ({"Faces": ["OFA"], "faces": ["OFA"]}, "has faces, and Faces is there already; names differ in more than capi"),
        ({"all": ["OFA"]}, "has all, and all is there already"),
        ({"a": ["b"], "b": {"intersection": ["OFA", "a"]}}, "a is made of itself"),
    ],
)
def test_wrong_definitions(definitions, sentence):
    (found, *_) = data_rois.problems(definitions, ATLASES, "roi.regions")
    assert sentence in found


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        ({"intersection": ["OFA", "V1d"]}, "region r has 0 of 6 voxels of sub01; expected at least 1"),
        (
            {"voxels": [[0, 0, 0], [1, 0, 0]]},
            r"voxel \[1, 0, 0\], which is not among the 6 of the mask, in a volume of",
        ),
        ({"voxels": [[2, 0, 0]]}, r"voxel \[2, 0, 0\], which is not among"),
    ],
)
def test_regions_without_voxels(rois, definition, sentence):
    with pytest.raises(ValueError, match=sentence):
        data_rois.masks({"r": definition}, rois, "sub01")


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ({"shape": (2, 3, 3)}, r"has volumes of \(2, 3, 2\), .*mask.nii.gz \(2, 3, 3\); expected one grid"),
        (
            {"affine": np.diag([2.0, 2, 2, 1]) + np.eye(4, k=3)},
            r"different affines .* \[0.0, 0.0, 0.0\] and \[1.0, 0.0, 0.0\] mm",
        ),
        ({"selected": []}, "selects 0 voxels"),
        ({"selected": [3]}, "region r has 0 of 6 voxels"),
    ],
)
def test_masks_of_other_grids(rois, tmp_path, mask, sentence):
    path = write_mask(tmp_path / "mask.nii.gz", **mask)
    with pytest.raises(ValueError, match=sentence):
        data_rois.masks({"r": {"mask": path}}, rois, "sub01")
    assert Path(path).exists()
