"""Folders of images matched with stimuli by name, and the sentences about what does not fit."""

import numpy as np
import pytest
from PIL import Image

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import matching

IDS = np.array([2950, 4, 731, 12], np.int32)
LEVELS = dict(zip(IDS.tolist(), (10, 20, 30, 40), strict=True))


@pytest.fixture
def stimuli(tmp_path):
    images = np.stack([np.full((8, 8, 3), LEVELS[number], np.uint8) for number in IDS.tolist()])
    hdf5.save(tmp_path / "stimuli_test.h5", images, IDS, axes=("height", "width", "rgb"), flatten=False)
    return matching.of_artifact(tmp_path / "stimuli_test.h5")


def write(folder, levels):
    folder.mkdir(exist_ok=True)
    for place, (name, level) in enumerate(levels.items()):
        Image.fromarray(np.full((4 + place, 5, 3), level, np.uint8)).save(folder / name)
    return folder


def levels(matched):
    return [int(image[0, 0, 0]) for image in matched.images]


@pytest.mark.parametrize(
    ("way", "names"),
    [
        ("id", ["nsd02950.png", "nsd00004.png", "nsd00731.png", "nsd00012.png"]),
        ("id", ["2950.bmp", "4.png", "recon_731.png", "stim-12.webp"]),
        ("id_from_1", ["2951.png", "5.png", "732.png", "13.png"]),
        ("order", ["00000.png", "00001.png", "00002.png", "00003.png"]),
        ("sorted", ["3.png", "0.png", "2.png", "1.png"]),
    ],
)
def test_a_name_leads_to_its_stimulus_whatever_the_sizes(tmp_path, stimuli, way, names):
    folder = write(tmp_path / "images", dict(zip(names, LEVELS.values(), strict=True)))
    matched = matching.load(folder, stimuli, way)
    assert matched.notes == []
    assert matched.rows.tolist() == [0, 1, 2, 3]
    assert matched.files == names
    assert levels(matched) == pytest.approx([10, 20, 30, 40], abs=3)  # WebP loses a little
    assert len({image.shape for image in matched.images}) == 4


def test_a_table_says_whose_images_files_are(tmp_path, stimuli):
    folder = write(tmp_path / "images", {"a.png": 30, "b.png": 10, "c.png": 99})
    table = tmp_path / "table.csv"
    table.write_text("file,stimulus\na.png,731\nb.png,nsd02950.png\n")
    matched = matching.load(folder, stimuli, "id", table)
    assert (matched.rows.tolist(), levels(matched)) == ([0, 2], [10, 30])
    assert any("1 file in" in note and "such as c.png, is of no test stimulus" in note for note in matched.notes)
    table.write_text("file,stimulus\na.png,731\nd.png,4\n")
    with pytest.raises(ValueError, match=r"line 3 names d\.png, which is no image in"):
        matching.load(folder, stimuli, "id", table)
    table.write_text("file,stimulus\na.png,731\na.png,4\n")
    with pytest.raises(ValueError, match=r"names a\.png a second time"):
        matching.load(folder, stimuli, "id", table)


def test_what_is_missing_doubled_or_damaged_is_said_in_a_sentence_each(tmp_path, stimuli):
    folder = write(tmp_path / "images", {"2950.png": 10, "nsd02950.png": 11, "731.png": 30, "12.png": 40, "9.png": 0})
    (folder / "12.png").write_bytes((folder / "12.png").read_bytes()[:40])
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    matched = matching.load(folder, stimuli)
    assert (matched.rows.tolist(), levels(matched)) == ([0, 2], [10, 30])
    missing, doubled, unreadable, unknown = matched.notes
    assert missing.startswith("2 of 4 test stimuli have no image in") and "(the first: 4)" in missing  # noqa: PT018
    assert "1 file in" in doubled and "(nsd02950.png, as 2950.png)" in doubled  # noqa: PT018
    assert unreadable.startswith("1 image cannot be used and counts as missing: ") and "12.png" in unreadable  # noqa: PT018
    assert "such as 9.png, is of no test stimulus" in unknown


def test_what_a_screen_would_not_show_is_not_scored(tmp_path, stimuli):
    folder = write(tmp_path / "images", {"2950.png": 10, "731.png": 30})
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(folder / "12.png")
    Image.new("RGBA", (4, 4), (20, 20, 20, 200)).save(folder / "4.png")
    matched = matching.load(folder, stimuli)
    assert matched.rows.tolist() == [0, 2]
    assert matched.notes[-1].startswith("2 images cannot be used and count as missing: ")
    assert "12.png has more than 8 bits per channel" in matched.notes[-1]
    with pytest.raises(ValueError, match=r"4\.png is transparent in places"):
        matching.read(folder / "4.png")
    Image.new("RGBA", (4, 4), (20, 20, 20, 255)).save(folder / "4.png")
    assert matching.read(folder / "4.png").max() == 20


def test_names_of_another_kind_are_refused_with_the_one_that_fits(tmp_path, stimuli):
    folder = write(tmp_path / "images", {f"{place:05d}.png": 0 for place in range(4)})
    with pytest.raises(ValueError, match=r"4 of 4 images have names of no test stimulus .* 4 fit with --names order"):
        matching.load(folder, stimuli)
    folder = write(tmp_path / "others", {"cat.png": 0, "dog.png": 0})
    with pytest.raises(ValueError, match=r"such as cat\.png; expected names such as 2950\.png, so write a table"):
        matching.load(folder, stimuli)


def test_folders_without_two_images_are_refused(tmp_path, stimuli):
    with pytest.raises(ValueError, match="is no folder"):
        matching.load(tmp_path / "nothing", stimuli)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no image"):
        matching.load(tmp_path / "empty", stimuli)
    with pytest.raises(ValueError, match=r"has 1 image of test stimuli .* expected at least 2"):
        matching.load(write(tmp_path / "one", {"4.png": 20}), stimuli)


def test_a_folder_of_stimuli_has_the_names_of_its_images(tmp_path):
    named = matching.of_folder(write(tmp_path / "stimuli", {"cat-2.jpg": 10, "dog-1.jpg": 20, "owl.jpg": 30}))
    assert not named.has_ids
    matched = matching.load(write(tmp_path / "images", {"dog-1.png": 21, "owl.png": 31, "2.png": 0}), named)
    assert matched.rows.tolist() == [1, 2]  # 2.png is not cat-2
    numbered = matching.of_folder(write(tmp_path / "numbered", {"nsd00007.png": 10, "nsd00003.png": 20}))
    assert numbered.nsd_id.tolist() == [3, 7]
    assert matching.load(write(tmp_path / "plain", {"7.png": 0, "3.png": 0}), numbered).files == ["3.png", "7.png"]


def test_an_array_that_holds_no_images_is_refused(tmp_path):
    hdf5.save(tmp_path / "betas_test.h5", np.zeros((4, 3), np.float32), IDS)
    with pytest.raises(ValueError, match=r"float32 of shape \(4, 3\); expected images"):
        matching.of_artifact(tmp_path / "betas_test.h5")
