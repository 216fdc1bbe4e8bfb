"""Images of own data under the names of their stimuli."""

import numpy as np
import pytest

from brain_diffuser.artifacts import image_files
from brain_diffuser.data import custom
from brain_diffuser.generation import named_images


def test_names_are_those_of_the_files_and_unique():
    names = {0: "castles/one.jpg", 1: "sea.png", 2: "Sea.jpg", 3: "a/b_c.png", 4: "a_b/c.png", 5: "two.v2.png"}
    assert named_images.file_names([5, 0, 1, 2, 3, 4], names) == [
        "two.v2.png",
        "castles_one.png",
        "sea_stim00001.png",
        "Sea_stim00002.png",
        "a_b_c_stim00003.png",
        "a_b_c_stim00004.png",
    ]


def test_images_keep_their_order_ids_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(named_images, "AT_A_TIME", 2)
    rng = np.random.default_rng(0)
    images = [(number, rng.integers(0, 256, (8, 8, 3), np.uint8)) for number in (7, 3, 5)]
    image_files.write_folder(tmp_path / "recon", tmp_path / "recon_manifest.tsv", images, "stim")
    custom.write_ids(tmp_path / "stim_files.tsv", {"set/ä.png": 3, "b.png": 5, "c.png": 7, "unused.png": 1})
    made = tmp_path / "named/recon", tmp_path / "named/recon_manifest.tsv"
    made[0].parent.mkdir()
    named_images.write(tmp_path / "recon", tmp_path / "recon_manifest.tsv", tmp_path / "stim_files.tsv", *made)
    before, after = (image_files.read_manifest(path) for path in (tmp_path / "recon_manifest.tsv", made[1]))
    assert [row[0] for row in after] == ["c.png", "set_ä.png", "b.png"]
    assert [row[1:] for row in after] == [row[1:] for row in before]
    np.testing.assert_array_equal(image_files.read_folder(*made)[1], [image for _, image in images])


def test_a_changed_image_is_not_copied(tmp_path):
    image_files.write_folder(tmp_path / "recon", tmp_path / "m.tsv", [(0, np.zeros((4, 4, 3), np.uint8))], "stim")
    (tmp_path / "recon/stim00000.png").write_bytes(b"no image")
    custom.write_ids(tmp_path / "stim_files.tsv", {"a.png": 0})
    with pytest.raises(ValueError, match=r"stim00000\.png has sha256 .* the image changed"):
        named_images.write(
            tmp_path / "recon", tmp_path / "m.tsv", tmp_path / "stim_files.tsv", tmp_path / "n", tmp_path / "n.tsv"
        )
