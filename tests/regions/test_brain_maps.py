"""Volumes: each value in its voxel's place, headers that say where that is, and drawings that show it."""

import gzip
import io
from itertools import pairwise

import h5py
import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn import image as nilearn_image
from PIL import Image

from brain_diffuser.regions import brain_maps

pytestmark = pytest.mark.long

SHAPE = (7, 9, 6)
AFFINE = np.array([[-1.8, 0, 0, 80], [0, 1.8, 0, -100], [0, 0, 1.8, -70], [0, 0, 0, 1.0]])
TURNED = np.array([[-1.75, 0.4, 0, 80], [0.4, 1.75, 0, -100], [0, 0, 1.8, -70], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def inside():
    """A hollow block, off the middle."""
    selected = np.zeros(SHAPE, bool)
    selected[1:6, 1:7, 1:5] = True
    selected[3, 3:5, 2:4] = False
    return selected


@pytest.fixture(scope="module")
def grid(tmp_path_factory, inside):
    return write_grid(tmp_path_factory.mktemp("grid") / "nsd/rois.h5", inside)


@pytest.fixture(scope="module")
def values(inside):
    return np.random.default_rng(0).uniform(-0.3, 0.9, inside.sum())


def write_grid(path, inside, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file["voxel"], file["shape"], file["affine"] = np.flatnonzero(inside).astype(np.int32), SHAPE, affine
    return brain_maps.read_grid(path)


def read(path):
    image = nib.load(path)
    return image, np.asarray(image.dataobj)


@pytest.mark.parametrize("affine", [AFFINE, TURNED], ids=["upright", "turned"])
def test_values_are_where_their_voxels_are(tmp_path, inside, values, affine):
    grid = write_grid(tmp_path / "nsd/rois.h5", inside, affine)
    brain_maps.save(tmp_path / "v.nii.gz", brain_maps.volume("v", values, grid, "a value"))
    image, found = read(tmp_path / "v.nii.gz")
    for column, indices in enumerate(np.argwhere(inside)):  # argwhere goes through a volume in C order
        there = apply_affine(affine, indices)
        back = apply_affine(np.linalg.inv(image.affine), there).round().astype(int)
        assert found[tuple(back)] == np.float32(values[column])
    assert np.isnan(found[~inside]).all()
    assert found.dtype == np.float32
    for form in (image.get_sform, image.get_qform):
        np.testing.assert_allclose(form(), affine, atol=1e-4)
        assert form(coded=True)[1] == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["descrip"].item() == b"a value"


def test_masks_make_the_round_trip(tmp_path, grid, inside):
    chosen = np.arange(inside.sum()) % 3 == 0
    brain_maps.save(tmp_path / "m.nii.gz", brain_maps.volume("m", chosen, grid, "region " + "x" * 99))
    image, found = read(tmp_path / "m.nii.gz")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[inside], chosen)
    assert found[~inside].max() == 0
    assert len(image.header["descrip"].item()) == 79


def test_the_same_volume_gives_the_same_bytes(tmp_path, grid, values):
    written = []
    for name in ("a", "b"):
        brain_maps.save(tmp_path / f"{name}.nii.gz", brain_maps.volume("v", values, grid, "a value"))
        written.append((tmp_path / f"{name}.nii.gz").read_bytes())
    assert written[0] == written[1]
    assert written[0][4:8] == bytes(4)  # gzip's date
    assert gzip.decompress(written[0])[344:348] == b"n+1\0"


def test_another_number_of_voxels(grid, values):
    sentence = rf"encoding_accuracy has {len(values) - 1} voxels, .*rois.h5 has {len(values)}; .* Rerun its job"
    with pytest.raises(ValueError, match=sentence):
        brain_maps.volume("encoding_accuracy", values[1:], grid, "")


def test_nilearn_reads_them(tmp_path, grid, inside, values):
    brain_maps.save(tmp_path / "v.nii.gz", brain_maps.volume("v", values, grid, "a value"))
    loaded = nilearn_image.load_img(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(nilearn_image.get_data(loaded)[inside], values.astype(np.float32))


@pytest.fixture(scope="module")
def draw(grid, inside, values):
    """Every drawing, by a function that makes it."""
    mask = brain_maps.volume("mask", np.ones(inside.sum(), bool), grid, "")
    gaps, nowhere = values.copy(), np.full(inside.sum(), np.nan)
    gaps[:20] = np.nan
    regions = {name: np.arange(inside.sum()) // 30 == i for i, name in enumerate(("V1", "faces", "mine"))}

    def volume(values):
        return brain_maps.volume("v", values, grid, "")

    return {
        "slices": lambda: brain_maps.draw_slices(volume(gaps), mask, "title", "unit"),
        "slices of nothing": lambda: brain_maps.draw_slices(volume(nowhere), mask, "title", "unit"),
        "glass": lambda: brain_maps.draw_glass(volume(gaps), mask, "title", "unit"),
        "regions": lambda: brain_maps.draw_regions(regions, grid, "title"),
        "no regions": lambda: brain_maps.draw_regions({}, grid, "title"),
    }


@pytest.fixture(scope="module")
def drawings(draw):
    """Every drawing, made once."""
    before = plt.get_fignums()
    made = {name: make() for name, make in draw.items()}
    assert plt.get_fignums() == before
    return made


def test_drawings_are_whole_images_that_differ(draw, drawings):
    for image in drawings.values():
        drawn = Image.open(io.BytesIO(image))
        drawn.load()
        assert drawn.format == "PNG"
        assert image.endswith(b"IEND\xaeB`\x82")
        assert np.asarray(drawn.convert("L")).std() > 10
        assert len(image) < 300_000
    assert len(set(drawings.values())) == len(drawings)
    assert draw["slices"]() == drawings["slices"]


def test_drawings_have_the_colours_of_regions_and_the_mask(drawings):
    def colours(name):
        return {
            tuple(each) for each in np.asarray(Image.open(io.BytesIO(drawings[name])).convert("RGB")).reshape(-1, 3)
        }

    def of(name):
        return tuple(int(brain_maps.COLOURS[name][start:end], 16) for start, end in pairwise((1, 3, 5, 7)))

    grey = (round(255 * brain_maps.GREY),) * 3
    assert {of("V1"), of("faces"), grey} <= colours("regions")
    assert of("V2") not in colours("regions")
    assert grey in colours("slices of nothing")
