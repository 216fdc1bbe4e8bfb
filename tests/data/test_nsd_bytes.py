"""NSD core with 37 sessions, as the paper has them, and with all 40: the bytes of its artifacts are pinned.

The digests are those of commit 075f87e, before other datasets could have any number of trials a session.
"""

import hashlib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from nsd_tree import write_tree

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import nsd

SHAPE = 3, 2, 2
DIGESTS = {
    37: "60810de1b7da5ff70e393a1efb3e1e24cf394589b72f56ff2f6a9a3b39527cb4",
    40: "fa1a80311f4b0634002a30cca2bdfb1bae552182ef87b3c6a3a120b9e9600237",
}


def betas(number, nsd_id):
    """Whole numbers that differ between voxels, sessions and images, and between repeats."""
    voxel = np.arange(np.prod(SHAPE)).reshape(*SHAPE, 1)
    trial = np.arange(len(nsd_id))
    return ((nsd_id * 7919 + voxel * 104_729 + (trial + 750 * number) * 31) % 2003 - 1001).astype(np.int16)


@pytest.mark.parametrize("suffix", ["nii.gz", "hdf5"])
@pytest.mark.parametrize("n_sessions", DIGESTS)
def test_the_bytes_of_the_artifacts_are_as_before(tmp_path, n_sessions, suffix):
    tree = write_tree(
        tmp_path, sessions=40, shape=SHAPE, n_train=300, n_test=40, formats=(suffix,), betas=betas, image_size=8
    )
    out = SimpleNamespace(
        stimuli=tmp_path / "stimuli.tsv",
        **{name: tmp_path / f"{name}.h5" for name in ("train", "test", "rois")},
    )
    sessions = list(range(1, n_sessions + 1))
    files = SimpleNamespace(
        design=[str(tree.expdesign)],
        betas=[str(tree.session(number, suffix)) for number in sessions],
        mask=[str(tree.nsdgeneral)],
        rois=[],
        stimuli=out.stimuli,
    )
    nsd.write_design(files, out, {"sessions": sessions, "splits": ["train", "test"], "subject": 1})
    nsd.write_betas(files, out, {"nsd.constant_voxels": "error", "nsd.unit": "auto"})
    digest = hashlib.sha256(out.stimuli.read_bytes())
    for name in ("train", "test"):
        digest.update(hdf5.load(tmp_path / f"{name}.h5").values.tobytes())
    with h5py.File(out.rois) as file:
        digest.update(file["voxel"][:].tobytes() + file["ncsnr"][:].tobytes())
    assert digest.hexdigest() == DIGESTS[n_sessions]
