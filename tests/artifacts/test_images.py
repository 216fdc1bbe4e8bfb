"""Folders of images, resizing, contact sheets."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from brain_diffuser.artifacts import figures, image_files


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), dtype=np.uint8)


@pytest.fixture
def written(tmp_path, images):
    ids = [2950, 7, 72999, 0]
    image_files.write_folder(tmp_path / "recon", tmp_path / "recon_manifest.tsv", zip(ids, images, strict=True), "nsd")
    return tmp_path / "recon", tmp_path / "recon_manifest.tsv"


def test_images_come_back_in_the_order_they_were_written(written, images):
    nsd_id, read = image_files.read_folder(*written)
    np.testing.assert_array_equal(nsd_id, [2950, 7, 72999, 0])
    assert nsd_id.dtype == np.int32
    np.testing.assert_array_equal(read, images)


def test_names_and_hashes(written):
    folder, manifest = written
    assert sorted(path.name for path in folder.iterdir()) == [
        "nsd00000.png",
        "nsd00007.png",
        "nsd02950.png",
        "nsd72999.png",
    ]
    digest = hashlib.sha256((folder / "nsd02950.png").read_bytes()).hexdigest()
    assert manifest.read_text().splitlines()[:2] == ["file\tnsd_id\tsha256", f"nsd02950.png\t2950\t{digest}"]


def test_a_failed_run_leaves_the_earlier_folder(written, images):
    def broken():
        yield 7, 255 - images[0]
        raise RuntimeError("out of memory")

    folder, manifest = written
    with pytest.raises(RuntimeError, match="out of memory"):
        image_files.write_folder(folder, manifest, broken(), "nsd")
    np.testing.assert_array_equal(image_files.read_folder(folder, manifest)[1], images)
    assert {path.name for path in folder.parent.iterdir()} == {"recon", "recon_manifest.tsv"}


def test_a_second_run_replaces_the_folder(written, images):
    folder, manifest = written
    image_files.write_folder(folder, manifest, [(5, images[1])], "stim")
    nsd_id, read = image_files.read_folder(folder, manifest)
    assert nsd_id.tolist() == [5]
    assert [path.name for path in folder.iterdir()] == ["stim00005.png"]
    np.testing.assert_array_equal(read, images[1:2])


def test_a_missing_image_is_named(written):
    (written[0] / "nsd72999.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"nsd72999\.png is missing; recon_manifest\.tsv lists it among 4"):
        image_files.read_folder(*written)


def test_a_changed_image_is_named(written, images):
    Image.fromarray(images[3]).save(written[0] / "nsd00007.png")
    with pytest.raises(ValueError, match=r"nsd00007\.png has sha256 .* the image changed"):
        image_files.read_folder(*written)


def test_images_of_two_sizes_are_refused(tmp_path, images):
    where = tmp_path / "recon", tmp_path / "manifest.tsv"
    image_files.write_folder(*where, [(1, images[0]), (2, images[1, :5])], "nsd")
    with pytest.raises(ValueError, match=r"nsd00002\.png is \(5, 10\) pixels, the images before it \(12, 10\)"):
        image_files.read_folder(*where)


def test_names_of_ones_own(tmp_path, images):
    where = tmp_path / "optimal", tmp_path / "manifest.tsv"
    image_files.write_folder(*where, [(0, images[0]), (0, images[1])], ["faces.png", "V1.png"])
    ids, found = image_files.read_folder(*where)
    assert (ids.tolist(), [name for name, _, _ in image_files.read_manifest(where[1])]) == (
        [0, 0],
        ["faces.png", "V1.png"],
    )
    np.testing.assert_array_equal(found, images[:2])
    with pytest.raises(ValueError, match=r"V1\.png of nsd_id 1 comes twice"):
        image_files.write_folder(*where, [(0, images[0]), (1, images[1])], ["V1.png", "V1.png"])


def test_twice_the_same_stimulus(tmp_path, images):
    with pytest.raises(ValueError, match="nsd_id 3 comes twice"):
        image_files.write_folder(tmp_path / "recon", tmp_path / "manifest.tsv", [(3, images[0]), (3, images[1])], "nsd")
    assert list(tmp_path.iterdir()) == []


def test_no_image(tmp_path, written):
    with pytest.raises(ValueError, match="recon: got 0 images"):
        image_files.write_folder(tmp_path / "recon", tmp_path / "manifest.tsv", [], "nsd")
    written[1].write_text("file\tnsd_id\tsha256\n")
    with pytest.raises(ValueError, match="lists 0 images"):
        image_files.read_folder(*written)


def test_not_a_manifest(written):
    written[1].write_text("nsd_id\tsplit\n3\ttest\n")
    with pytest.raises(ValueError, match=r"has columns \['nsd_id', 'split'\]; expected \['file', 'nsd_id', 'sha256'\]"):
        image_files.read_folder(*written)


def test_resize_is_pil_per_image(images):
    resized = image_files.resize(images, (6, 20), "bilinear")
    expected = [np.asarray(Image.fromarray(image).resize((20, 6), Image.Resampling.BILINEAR)) for image in images]
    np.testing.assert_array_equal(resized, expected)
    assert image_files.resize(images, 9).shape == (4, 9, 9, 3)


def test_resize_to_the_same_size_changes_nothing(images):
    same = image_files.resize(images, (12, 10))
    np.testing.assert_array_equal(same, images)
    assert not np.shares_memory(same, images)


def test_contact_sheet_shows_every_image():
    colours = np.random.default_rng(1).integers(0, 200, (5, 3, 3), dtype=np.uint8)
    rows = [[np.broadcast_to(colour, (8, 8, 3)).copy() for colour in row] for row in colours]
    sheet = figures.contact_sheet(rows, ["stimulus", "stage 1", "reconstruction"], ["a"] * 5, cell=40, groups=2)
    shown = {tuple(colour) for colour in np.asarray(sheet).reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in colours.reshape(-1, 3).tolist()} <= shown
    margin, group_width, row_height = 8, 3 * 40 + 2 * 2, 40 + 2 + 8
    assert sheet.size == (2 * margin + 2 * group_width + 10, 2 * margin + 10 + 3 * row_height)


def test_contact_sheet_cuts_a_long_caption():
    image = np.zeros((8, 8, 3), np.uint8)
    short = figures.contact_sheet([[image]], ["stimulus"], ["a cat"], groups=1)
    long = figures.contact_sheet([[image]], ["stimulus"], ["a cat on a wide green meadow below the sky" * 3], groups=1)
    assert long.size == short.size
    assert (np.asarray(long)[:, -20:] == 255).all()


def test_contact_sheet_breaks_long_titles_between_words():
    image = np.zeros((8, 8, 3), np.uint8)
    titles = ["stimulus", "stable diffusion guided", "stable diffusion true"]
    one, two = (figures.contact_sheet([[image] * 3], titles[:n], groups=1) for n in (1, 3))
    first_line = slice(25, 25 + two.height - one.height)
    guided, true = (np.asarray(two)[first_line, start : start + 128] for start in (157, 289))
    assert (guided < 100).any()  # above the last line: words that both share
    np.testing.assert_array_equal(guided, true)


@pytest.mark.parametrize("name", ["", "nsd00003", "../nsd00003.png", "/etc/nsd00003.png", "a\\nsd00003.png"])
def test_a_manifest_names_images_of_its_folder_alone(tmp_path, name):
    image = np.zeros((2, 2, 3), np.uint8)
    image_files.write_folder(tmp_path / "recon", tmp_path / "recon.tsv", [(3, image)], "nsd")
    manifest = (tmp_path / "recon.tsv").read_text().replace("nsd00003.png", name)
    (tmp_path / "recon.tsv").write_text(manifest)
    with pytest.raises(ValueError, match=r"recon\.tsv lists '.*'; expected names of \.png files\. Rerun its job"):
        image_files.read_folder(tmp_path / "recon", tmp_path / "recon.tsv")
