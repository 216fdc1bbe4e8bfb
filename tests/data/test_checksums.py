"""Damage of a compressed file is found wherever it is, or leaves every number as it was; bombs and other kinds, too."""

import bz2
import gzip
import io
import os
import random
import struct
import subprocess
import sys

import h5py
import nibabel as nib
import numpy as np
import pytest
from isal import igzip
from scipy.io import savemat
from test_custom import averaged
from toy_lab import AFFINE, write_lab

from brain_diffuser.data import betas_checks, custom_checks, custom_files, matlab, nifti, nsd_design, nsd_sessions

pytestmark = pytest.mark.long

N_FLIPS = 300


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path)


def flips(content, n=N_FLIPS, seed=0):
    """Copies with one bit changed, some of them in the first and the last bytes."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        reach = (8 * len(content), 8 * 200, 8 * 24)[number % 3] if len(content) > 200 else 8 * len(content)
        bit = int(rng.integers(0, reach))
        bit = 8 * len(content) - 1 - bit if number % 3 == 2 else bit
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def one_sentence(error, path, *words):
    """The words of an error: one sentence that names the file, with one of some words."""
    text = str(error)
    assert str(path) in text
    assert "\n" not in text
    assert not words or any(each in text for each in words), text
    return text


def test_bits_of_custom_betas(lab):
    content, before = lab.betas.read_bytes(), averaged(lab, [lab.betas])[0]
    files = custom_files.SubjectFiles("sub01", lab.trials, (lab.betas,), lab.mask, {})
    n_refused = 0
    for damaged in flips(content):
        lab.betas.write_bytes(damaged)
        trials, mask = custom_files.read_trials(lab.trials), custom_files.read_mask(lab.mask, 0)
        found = list(betas_checks.of_betas(files, trials, mask, custom_checks.DEFAULT))
        if found:
            assert len(found) == 1
            one_sentence(found[0], lab.betas, "cannot be read", "is damaged")
            n_refused += 1
            continue
        for name, row in averaged(lab, [lab.betas])[0].items():
            assert np.array_equal(row, before[name])
    assert n_refused > N_FLIPS * 0.8


MASKS = {
    "m.nii.gz": lambda volume, path: nib.Nifti1Image(volume, AFFINE).to_filename(path),
    "m.mgz": lambda volume, path: nib.MGHImage(volume, AFFINE).to_filename(path),
    "m.nii.bz2": lambda volume, path: nib.Nifti1Image(volume, AFFINE).to_filename(path),
    "m.img.gz": lambda volume, path: nib.Nifti1Pair(volume, AFFINE).to_filename(path),
}


@pytest.mark.parametrize("name", MASKS)
def test_bits_of_masks(tmp_path, name):
    path = tmp_path / name
    volume = np.random.default_rng(0).integers(0, 2, (14, 12, 10)).astype(np.uint8)
    MASKS[name](volume, path)
    n_refused = 0
    for damaged in flips(path.read_bytes(), 200):
        path.write_bytes(damaged)
        try:
            selected = nifti.read_mask(path).selected
        except ValueError as error:
            one_sentence(error, path, "cannot be read as NIfTI (", "is damaged")
            n_refused += 1
        else:
            assert np.array_equal(selected, volume > 0)
    assert n_refused > 150


def test_bits_of_a_session_of_nsd(tmp_path):
    path = tmp_path / "s.nii.gz"
    volume = np.random.default_rng(0).integers(-900, 900, (3, 2, 2, 750)).astype(np.int16)
    nib.Nifti1Image(volume, np.eye(4)).to_filename(path)
    selected = np.ones((3, 2, 2), bool)
    for damaged in flips(path.read_bytes(), 200):
        path.write_bytes(damaged)
        try:
            betas = nsd_sessions.read(path, selected)
        except ValueError as error:
            one_sentence(error, path, "cannot be read", "is damaged")
        else:
            assert np.array_equal(betas, volume[selected].T)


@pytest.mark.parametrize("form", ["plain", "scaled", "big-endian", "float64", "with an extension"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_sound_betas_are_what_nibabel_reads(lab, form, ending):
    volumes = lab.volumes()
    header = nib.Nifti1Header(endianness=">" if form == "big-endian" else "<")
    if form == "scaled":
        image = nib.Nifti1Image((volumes * 1000).astype(np.int16), AFFINE, header)
        image.header.set_slope_inter(1 / 1000, 0.25)
    else:
        dtype = {"big-endian": ">f4", "float64": "<f8"}.get(form, "<f4")
        image = nib.Nifti1Image(volumes.astype(dtype), AFFINE, header)
    if form == "with an extension":
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"words " * 30))
    path = lab.root / f"b{ending}"
    image.to_filename(path)
    selected = nifti.read_mask(lab.mask).selected
    read = np.concatenate(list(custom_files.read_betas([path], custom_files.read_trials(lab.trials), selected, "none")))
    expected = np.asarray(nib.load(path).dataobj[...], np.float32)[selected].T
    assert read.dtype == np.float32
    assert read.tobytes() == expected.tobytes()


def header_of(shape, bits=32, code=16, offset=352.0):
    """A NIfTI header with these dimensions, and no volume."""
    header = bytearray(nib.Nifti1Image(np.zeros((1, 1, 1), np.float32), AFFINE).to_bytes()[:352])
    header[40:56] = struct.pack("<8h", len(shape), *shape, *[1] * (7 - len(shape)))
    header[70:74] = struct.pack("<2h", code, bits)
    header[108:112] = struct.pack("<f", offset)
    return bytes(header)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((32767, 32767, 32767), "in its header; expected 1 to 268435456 voxels"),
        ((600, 600, 600), "its header says 864000352"),
        ((0, 4, 4), "expected 1 to 268435456 voxels"),
        ((-4, 4, 4), "m.nii"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_masks_whose_header_asks_for_more_than_there_is(tmp_path, shape, message, ending):
    path = tmp_path / f"m{ending}"
    content = header_of(shape) + bytes(96)
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with pytest.raises(ValueError, match=message) as raised:
        nifti.read_mask(path)
    one_sentence(raised.value, path)


@pytest.mark.parametrize("shape", [(4, 3, 2, 32767), (32767, 32767, 32767, 32767), (4, 3, 2, 26)])
@pytest.mark.parametrize("offset", [352.0, 1e9, 1e30, float("inf"), float("nan"), -5.0])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_betas_whose_header_asks_for_more_than_there_is(lab, shape, offset, ending):
    path = lab.root / f"b{ending}"
    content = header_of(shape, offset=offset) + bytes(96)
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    files = custom_files.SubjectFiles("sub01", lab.trials, (path,), lab.mask, {})
    (sentence,) = custom_checks.problems([files], lab.stimuli, lab.captions)
    assert "Write it again." in one_sentence(sentence, path)


def test_a_small_mask_that_inflates_without_end(tmp_path):
    path = tmp_path / "m.nii.gz"
    path.write_bytes(gzip.compress(header_of((4, 4, 4)) + bytes(2**26)))
    with pytest.raises(ValueError, match=r"it has more than 1049184 bytes, inflated\). Download it again"):
        nifti.read_mask(path)


def test_isal_reads_and_refuses_what_gzip_does(tmp_path, monkeypatch):
    draw, path = random.Random(0), tmp_path / "m.nii.gz"
    content = header_of((4, 4, 4)) + draw.randbytes(3000) + bytes(3000)
    sound = [gzip.compress(content, level) for level in (0, 1, 9)]
    sound += [gzip.compress(content) + gzip.compress(b"another member"), igzip.compress(content)]
    n_refused = 0
    for number in range(400):
        stream = bytearray(draw.choice(sound))
        place, length = draw.randrange(len(stream)), draw.randrange(1, 40)
        if number % 4 == 0:
            stream[place] ^= 1 << draw.randrange(8)
        elif number % 4 == 1:
            del stream[place:]
        elif number % 4 == 2:
            stream[place : place + length] = draw.randbytes(length)
        else:
            stream += draw.choice([bytes(length), draw.randbytes(length)])
        path.write_bytes(stream)
        found = []
        for program in (igzip.open, gzip.open):
            monkeypatch.setattr(nifti, "open_gzip", program)
            found.append(nifti.damage(path, "Download it again."))
        assert (found[0] is None) == (found[1] is None), (number, found)
        n_refused += found[0] is not None
    assert 200 < n_refused < 400


def test_without_isal_gzip_reads(tmp_path):
    path = tmp_path / "m.nii.gz"
    nib.Nifti1Image(np.eye(4, dtype=np.int16)[..., None], np.eye(4)).to_filename(path)
    program = (
        "import sys; sys.modules['isal'] = None\n"
        "from brain_diffuser.data import nifti\n"
        "print(nifti.open_gzip.__module__, nifti.read_mask(sys.argv[1]).selected.sum())"
    )
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["gzip", "4"]


def test_tables_that_claim_more_voxels_than_a_brain_has(lab):
    path = lab.root / "b.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", (26, 10**13), "f4", chunks=(1, 2**20))
    files = custom_files.SubjectFiles("sub01", lab.trials, (path,), None, {})
    (sentence,) = custom_checks.problems([files], lab.stimuli, lab.captions)
    assert sentence == f"{path} has shape (26, 10000000000000); expected 1 to 268435456 voxels"


OTHER_KINDS = {
    "surface.gii": lambda path: nib.GiftiImage().to_filename(path),
    "text.nii.gz": lambda path: path.write_bytes(gzip.compress(b"words " * 200)),
    "html.nii": lambda path: path.write_text("<html>404</html>" * 40),
    "colours.nii": lambda path: nib.Nifti1Image(
        np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), AFFINE
    ).to_filename(path),
    "complex.nii": lambda path: nib.Nifti1Image(np.ones((3, 3, 3), np.complex64), AFFINE).to_filename(path),
    "twice.nii.bz2": lambda path: path.write_bytes(bz2.compress(b"no header")),
}


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_masks_of_another_kind(tmp_path, name):
    OTHER_KINDS[name](tmp_path / name)
    with pytest.raises(ValueError, match=name) as raised:
        nifti.read_mask(tmp_path / name)
    one_sentence(raised.value, tmp_path / name)


def design(compressed=True):
    rng = np.random.default_rng(0)
    ids = rng.permutation(73_000).astype(np.int32) + 1
    lists = np.concatenate([np.tile(ids[:1000], (8, 1)), ids[1000:].reshape(8, 9000)], axis=1)
    ordering = rng.permutation(np.repeat(np.arange(1, 10_001), 3)).astype(np.float64)[None]
    stream = io.BytesIO()
    variables = {"stimpattern": np.ones((2, 3, 4)), "masterordering": ordering, "subjectim": lists, "note": "text"}
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue(), ordering, lists


@pytest.mark.parametrize("compressed", [True, False])
def test_bits_of_a_design(tmp_path, compressed):
    path = tmp_path / "nsd_expdesign.mat"
    content, ordering, lists = design(compressed)
    path.write_bytes(content)
    read = matlab.read(path, ("masterordering", "subjectim"))
    assert np.array_equal(read["masterordering"], ordering)
    assert np.array_equal(read["subjectim"], lists)
    before = nsd_design.read_design(path, 3, range(1, 41))
    for damaged in flips(content, 150):
        path.write_bytes(damaged)
        try:
            after = nsd_design.read_design(path, 3, range(1, 41))
        except ValueError as error:
            one_sentence(error, path)
        else:
            assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "text", [b"", b"\0", b"MATLAB 5.0 MAT-file", b"hello\n", b"\xff\x01IM", b"MATLAB 7.3 MAT-file"]
)
@pytest.mark.parametrize("length", [0, 1, 4, 19, 127, 128, 129, 136, 500])
def test_short_texts_in_place_of_a_design(tmp_path, text, length):
    path = tmp_path / "nsd_expdesign.mat"
    path.write_bytes((text * 500)[:length])
    with pytest.raises(
        ValueError, match=r"is empty \(0 bytes\)|cannot be read as a MAT file \(|masterordering is missing"
    ) as e:
        nsd_design.read_design(path, 1, [1])
    one_sentence(e.value, path)


@pytest.mark.parametrize(
    "variable", [np.ones((1, 30000), complex), np.array([["a"]]), {"a": 1}, np.array([["a", 1]], object)]
)
def test_variables_that_are_no_numbers(tmp_path, variable):
    path = tmp_path / "nsd_expdesign.mat"
    savemat(path, {"masterordering": variable})
    with pytest.raises(ValueError, match=r"cannot be read as a MAT file \(masterordering is no"):
        nsd_design.read_design(path, 1, [1])


def annex_text(path):
    path.write_bytes(b"/annex/objects/MD5E-s1048576--0123456789abcdef.nii.gz\n")


def annex_link(path):
    path.symlink_to("../../.git/annex/objects/Xx/Yy/MD5E-s1--0/MD5E-s1--0")


def lfs_text(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def loop(path):
    path.symlink_to(path.name)


def longer_loop(path):
    path.symlink_to("other")
    path.with_name("other").symlink_to(path.name)


def dangling(path):
    path.symlink_to("elsewhere")


ABSENT = {
    annex_text: "is a pointer of git-annex, not the file itself; fetch it with datalad get",
    annex_link: "does not exist; git-annex has not fetched it, so run datalad get",
    lfs_text: "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    loop: "is, or lies below, a link that leads back to itself",
    longer_loop: "is, or lies below, a link that leads back to itself",
    dangling: "is a link to elsewhere, which does not exist; put the file there, or correct the link",
    os.mkdir: "is a folder; expected",
    os.mkfifo: "is a pipe or a device; expected",
    lambda path: None: "is missing; expected",
    lambda path: path.touch(): r"is empty \(0 bytes\); expected",
}


def read_session(path):
    return nsd_sessions.read(path, np.ones((1, 1, 1), bool))


def open_betas(path):
    with custom_files.opening(path):
        pass


READERS = {
    "mask.nii.gz": nifti.read_mask,
    "mask.mgz": nifti.read_mask,
    "s.nii.gz": read_session,
    "s.hdf5": read_session,
    "b.nii": open_betas,
    "b.npy": open_betas,
    "b.h5": open_betas,
    "d.mat": lambda path: nsd_design.read_design(path, 1, [1]),
    "i.hdf5": lambda path: nsd_design.copy_stimuli(path, path.with_name("out.h5"), np.array([1], np.int32)),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("absent", ABSENT)
def test_files_without_content(tmp_path, name, absent):
    absent(tmp_path / name)
    with pytest.raises((ValueError, OSError), match=ABSENT[absent]) as raised:
        READERS[name](tmp_path / name)
    assert str(raised.value).startswith(str(tmp_path / name))


def test_a_dataset_with_a_loop_is_refused_before_it_is_read(lab):
    lab.betas.unlink()
    loop(lab.betas)
    files = custom_files.SubjectFiles("sub01", lab.trials, (lab.betas,), lab.mask, {})
    with pytest.raises(ValueError, match=r"betas.nii.gz is, or lies below, a link that leads back to itself"):
        custom_checks.validate(lab.root / "sound.txt", [files], lab.stimuli, lab.captions)
