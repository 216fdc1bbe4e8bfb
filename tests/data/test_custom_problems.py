"""Everything that is wrong with a dataset in the plain layout gets its sentence, all of them at once."""

import struct
import zlib

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from toy_lab import AFFINE, SHAPE, SIDE, write_lab, write_table

from brain_diffuser.data import custom_checks, custom_files
from brain_diffuser.data.custom_checks import problems

FIRST = "set/00.png"


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path)


def found(lab, betas=None, mask="mask", captions=True, rois=True):
    """All sentences about a dataset."""
    rois = {"V1": lab.roi} if rois else {}
    betas = tuple(betas or [lab.betas])
    files = custom_files.SubjectFiles("sub01", lab.trials, betas, lab.mask if mask else None, rois)
    return list(problems([files], lab.stimuli, lab.captions if captions else None))


def edit(lab, **cells):
    """Change the first row of the trials table."""
    rows = lab.rows()
    rows[0] |= cells
    lab.write_rows(rows)


def image(lab, image, **options):
    image.save(lab.stimuli / FIRST, format="PNG", **options)


def png_of_16_bits(path):
    """An RGB image of 16 bits a channel, which PIL itself cannot write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + bytes(SIDE * 6)) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def jpeg_in_cmyk(lab):
    Image.new("CMYK", (SIDE, SIDE)).save(lab.stimuli / FIRST, format="JPEG")


def rotated(lab):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (SIDE, SIDE)).save(lab.stimuli / FIRST, format="JPEG", exif=exif)


def animated(lab):
    frames = [Image.new("L", (SIDE, SIDE), level) for level in (0, 90)]
    frames[0].save(lab.stimuli / FIRST, format="PNG", save_all=True, append_images=frames[1:])


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_column(lab, *names):
    lab.write_rows([{key: cell for key, cell in row.items() if key not in names} for row in lab.rows()])


def double_repeat(lab):
    rows = lab.rows()
    rows[1] |= {"stim_file": rows[0]["stim_file"], "split": rows[0]["split"]}
    lab.write_rows(rows)


def leak(lab):
    rows = lab.rows()
    row = next(row for row in rows if row["split"] == "test")
    row["split"] = "train"
    lab.write_rows(rows)


def no_test(lab):
    lab.write_rows([row | {"split": row["split"].replace("test", "n/a")} for row in lab.rows()])


def part_sessions(lab):
    rows = lab.rows()
    rows[0]["session"], rows[1]["session"] = "01", "02"
    lab.write_rows(rows)


def uneven(lab):
    with open(lab.trials, "a", encoding="utf-8") as stream:
        stream.write("1\tset/00.png\n")


def header_twice(lab):
    lines = lab.trials.read_text().splitlines()
    lab.trials.write_text("\n".join(f"{line}\t{line.split(chr(9))[-1]}" for line in lines))


def unfit(lab, value):
    volumes = lab.volumes().copy()
    volumes[0, 0, 0, 3] = value
    lab.write_volumes(volumes)


def constant(lab):
    volumes = lab.volumes().copy()
    volumes[0, 0, 0] = 2.5
    lab.write_volumes(volumes)


def write_mask(path, volume, affine=AFFINE):
    nib.Nifti1Image(volume.astype(np.uint8), affine).to_filename(path)


def shifted():
    affine = AFFINE.copy()
    affine[0, 3] = 4
    return affine


def copy_between_splits(lab):
    train, test = ({row["stim_file"] for row in lab.rows() if row["split"] == split} for split in custom_files.SPLITS)
    (lab.stimuli / min(test)).write_bytes((lab.stimuli / min(train)).read_bytes())


MALFORMED = {
    "a leak under another name": (copy_between_splits, "is in the test of sub01 and the same file as set/00.png"),
    "missing columns": (lambda lab: drop_column(lab, "repeat", "split"), "trials.tsv lacks column repeat, split; its"),
    "an empty table": (
        lambda lab: lab.trials.write_text(""),
        "lacks column stim_file, session, run, repeat, split; its",
    ),
    "no trial": (
        lambda lab: write_table(lab.trials, lab.rows()[0], []),
        "trials.tsv has no trial below its first line",
    ),
    "a column twice": (header_twice, "trials.tsv has column split 2 times; expected once, delete one"),
    "cells missing": (uneven, "trials.tsv line 28 has 2 cells, its first line 6; expected as many"),
    "trials not UTF-8": (
        lambda lab: lab.trials.write_bytes(lab.trials.read_bytes().replace(b"set/00", b"set/\xe4", 1)),
        "which is not UTF-8; save it as UTF-8",
    ),
    "a repeat twice": (double_repeat, "comes 2 times; expected once, so count its repeats 1, 2, 3"),
    "repeat from 0": (lambda lab: edit(lab, repeat="0"), "line 2: repeat is '0'; expected a whole number from 1"),
    "unknown split": (lambda lab: edit(lab, split="val"), "line 2: split is 'val'; expected train, test or n/a"),
    "no session": (lambda lab: edit(lab, session=""), "line 2: session is ''; expected letters and digits"),
    "a run with a dash": (lambda lab: edit(lab, run="run-1"), "line 2: run is 'run-1'; expected letters and digits"),
    "a leak": (leak, "is in train and in test; expected one of them"),
    "an empty split": (no_test, "has 0 test stimuli; expected at least 1"),
    "sessions mixed": (part_sessions, "the rows of session 01, 02 are not contiguous; sort"),
    "absolute path": (
        lambda lab: edit(lab, stim_file="/data/00.png"),
        "line 2: stim_file is '/data/00.png'; expected a",
    ),
    "escaping path": (
        lambda lab: edit(lab, stim_file="set/../../00.png"),
        "line 2: stim_file is 'set/../../00.png'; exp",
    ),
    "a drive": (
        lambda lab: edit(lab, stim_file="C:/00.png"),
        "line 2: stim_file is 'C:/00.png'; expected a path below",
    ),
    "backslashes": (lambda lab: edit(lab, stim_file="set\\00.png"), "line 2: stim_file is 'set\\\\00.png'; expected a"),
    "image missing": (
        lambda lab: edit(lab, stim_file="set/0.png"),
        "is not in the folder of images; did you mean set/",
    ),
    "CMYK JPEG": (jpeg_in_cmyk, "set/00.png is CMYK; expected 8-bit RGB or grey (L), so convert it"),
    "grey PNG of 16 bits": (
        lambda lab: image(lab, Image.fromarray(np.zeros((SIDE, SIDE), np.uint16))),
        "set/00.png has 16 bits per channel; expected 8, so convert it",
    ),
    "RGB PNG of 16 bits": (lambda lab: png_of_16_bits(lab.stimuli / FIRST), "set/00.png has 16 bits per channel"),
    "transparent": (
        lambda lab: image(lab, Image.new("RGBA", (SIDE, SIDE))),
        "set/00.png is RGBA; expected 8-bit RGB",
    ),
    "palette": (lambda lab: image(lab, Image.new("P", (SIDE, SIDE))), "set/00.png is P; expected 8-bit RGB or grey"),
    "another size": (
        lambda lab: image(lab, Image.new("RGB", (48, SIDE))),
        "set/00.png has another size than the other images, 48 x 64 pixels, not 64 x 64; expected one size",
    ),
    "rotated": (rotated, "set/00.png is stored rotated (EXIF orientation); turn its pixels"),
    "animated": (animated, "set/00.png has 2 frames; expected a still image"),
    "image cut short": (lambda lab: cut_short(lab.stimuli / FIRST), "set/00.png cannot be read to its end ("),
    "no image": (lambda lab: (lab.stimuli / FIRST).write_text("hello"), "set/00.png is no image that can be read"),
    "NaN": (
        lambda lab: unfit(lab, np.nan),
        "1 values inside the mask that are no number, the first nan in trial 3 (from 0)",
    ),
    "infinity": (lambda lab: unfit(lab, np.inf), "the first inf in trial 3 (from 0), voxel (0, 0, 0); correct the"),
    "a voxel that never changes": (
        constant,
        "voxels never change, the first is voxel (0, 0, 0); correct the mask, or set",
    ),
    "too few trials": (
        lambda lab: lab.write_volumes(lab.volumes()[..., :-2]),
        "has 24 trials, its trials table 26 rows",
    ),
    "betas of one volume": (
        lambda lab: lab.write_volumes(lab.volumes()[..., 0]),
        "betas.nii.gz has shape (4, 3, 2); exp",
    ),
    "betas on another grid": (
        lambda lab: lab.write_volumes(lab.volumes()[:3]),
        "has volumes of (3, 3, 2), ",
    ),
    "betas elsewhere": (
        lambda lab: lab.write_volumes(lab.volumes(), shifted()),
        "have different affines (voxel 0 0 0",
    ),
    "betas cut short": (lambda lab: cut_short(lab.betas), "betas.nii.gz cannot be read"),
    "betas that are no NIfTI": (
        lambda lab: lab.betas.write_bytes(b"x" * 999),
        "betas.nii.gz cannot be read as NIfTI (",
    ),
    "an empty mask": (
        lambda lab: write_mask(lab.mask, np.zeros(SHAPE)),
        "mask.nii.gz selects 0 voxels; expected at least",
    ),
    "a mask of four dimensions": (
        lambda lab: write_mask(lab.mask, np.ones((*SHAPE, 2))),
        "expected a volume of (x, y, z)",
    ),
    "a mask that is no NIfTI": (lambda lab: lab.mask.write_text("mask"), "mask.nii.gz cannot be read as NIfTI ("),
    "a region outside": (
        lambda lab: write_mask(lab.roi, np.zeros(SHAPE)),
        "region V1 has no voxel inside the mask of sub01",
    ),
    "a region elsewhere": (lambda lab: write_mask(lab.roi, np.ones(SHAPE), shifted()), "have different affines"),
    "captions not UTF-8": (
        lambda lab: lab.captions.write_bytes(
            lab.captions.read_bytes() + "set/00.png\tgr\u00f6\u00dfer\n".encode("latin-1")
        ),
        "captions.tsv line 13 has byte 0xf6, which is not UTF-8; save it as UTF-8",
    ),
    "a caption missing": (
        lambda lab: write_table(lab.captions, custom_files.CAPTIONS, [[FIRST, "a pattern"]]),
        "captions.tsv has no caption for set/",
    ),
    "captions of another form": (
        lambda lab: lab.captions.write_text("file,text\n"),
        "captions.tsv lacks column stim_file, caption; its first line has file,text, tab-separated",
    ),
    "an empty caption": (
        lambda lab: lab.captions.write_text(lab.captions.read_text().replace("a pattern, set/00.png", " ")),
        "captions.tsv: every caption of set/00.png is empty; write one, or set captions: none",
    ),
}


def test_a_sound_dataset_has_no_problem(lab):
    assert found(lab) == []


@pytest.mark.parametrize("name", MALFORMED)
def test_each_problem_has_its_sentence(lab, name):
    damage, sentence = MALFORMED[name]
    damage(lab)
    sentences = found(lab)
    assert [each for each in sentences if sentence in each], sentences
    assert not [each for each in sentences if "\n" in each]


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (
            lambda path, table: np.save(path, table.astype(object), allow_pickle=True),
            "cannot be read as betas (Array can't be memory-mapped: Python objects",
        ),
        (lambda path, table: np.save(path, table[:, :-1]), "voxels, "),
        (lambda path, table: np.save(path, table.astype(complex)), "stores complex128; expected whole or real numbers"),
        (lambda path, table: np.save(path, table[0]), "expected (trials, voxels)"),
    ],
)
def test_problems_of_tables(lab, write, sentence):
    path = lab.root / "betas.npy"
    write(path, lab.volumes()[np.asarray(nib.load(lab.mask).dataobj) > 0].T)
    (only,) = found(lab, [path])
    assert sentence in only
    assert str(path) in only


def test_problems_of_other_files(lab):
    path = lab.root / "betas.h5"
    with h5py.File(path, "w") as file:
        file["beta"] = np.zeros((26, 3))
    (only,) = found(lab, [path])
    assert only == f"{path} lacks a dataset betas; it has beta; rename it"
    path.write_bytes(b"no HDF5")
    assert found(lab, [path])[0].startswith(f"{path} cannot be read as betas (")
    (only,) = found(lab, [lab.root / "betas.mat"])
    assert only == f"{lab.root}/betas.mat ends in .mat; expected one of .nii, .nii.gz, .npy, .h5, .hdf5"
    (only,) = found(lab, mask=None, rois=False)
    assert only.endswith("betas.nii.gz has volumes, and mask is none; expected a mask on the same grid")
    sentences = found(lab, [lab.betas, lab.betas, lab.betas])
    assert any("has sessions 01, 02, and there are 3 files of betas, such as" in each for each in sentences)


def test_every_problem_is_reported_at_once(lab):
    chosen = ("unknown split", "no session", "CMYK JPEG", "infinity", "captions not UTF-8", "a region outside")
    for name in chosen:
        MALFORMED[name][0](lab)
    sentences = found(lab)
    assert len(sentences) == len(chosen)
    for name in chosen:
        assert any(MALFORMED[name][1] in each for each in sentences)


def test_a_sound_dataset_is_validated_once(lab, caplog):
    record = lab.root / "results/sound.txt"
    files = custom_files.SubjectFiles.from_names(
        "sub01", str(lab.trials), [str(lab.betas)], [str(lab.mask)], {"V1": str(lab.roi)}
    )
    for times in (1, 1):
        custom_checks.validate(record, [files], lab.stimuli, lab.captions)
        assert caplog.text.count("validating the dataset: 16 files") == times
    MALFORMED["NaN"][0](lab)
    MALFORMED["unknown split"][0](lab)
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"The dataset has 2 problems; nothing was computed\.\n1\. .*\n2\. .*nan in"
        ):
            custom_checks.validate(record, [files], lab.stimuli, lab.captions)


def test_without_images(lab):
    for path in (lab.stimuli / "set").iterdir():
        path.unlink()
    assert found(lab)[0].startswith(f"{lab.stimuli} has no image; expected files that end in .png")
