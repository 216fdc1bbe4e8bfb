"""Everything that is wrong with a dataset in the plain layout gets its sentence, all of them at once."""

import io
import os
import struct
import unicodedata
import zlib
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from toy_lab import AFFINE, SHAPE, SIDE, write_lab, write_table

from brain_diffuser.artifacts import captions
from brain_diffuser.data import custom, custom_checks, custom_files, image_checks, stimulus_table
from brain_diffuser.data.custom_checks import problems

FIRST = "set/00.png"
TEST = "set/08.png"
CAPTION = "a pattern, set/0ö.png"


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


def of_another_checksum(path):
    """A PNG whose pixels no longer fit the checksum of their chunk, which decoding does not compare."""
    content = bytearray(path.read_bytes())
    content[content.index(b"IEND") - 5] ^= 1
    path.write_bytes(content)


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


def again_in_the_test(lab, save):
    """Store the image that is first in training again, as an image of the test under its own name."""
    (lab.stimuli / TEST).unlink()
    with Image.open(lab.stimuli / FIRST) as image:
        save(image, lab.stimuli / TEST)


def upside_down(image, path):
    exif = Image.Exif()
    exif[0x0112] = 3
    image.transpose(Image.Transpose.ROTATE_180).save(path, "PNG", exif=exif)


def in_colours(lab):
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8))
    grey.save(lab.stimuli / FIRST)
    again_in_the_test(lab, lambda image, path: image.convert("RGB").save(path))


def of_size(path, width, height):
    """A PNG file that claims a size of which it does not have the pixels."""
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def link(lab, target):
    (lab.stimuli / FIRST).unlink()
    (lab.stimuli / FIRST).symlink_to(target)


def folder_in_place(lab):
    (lab.stimuli / FIRST).unlink()
    (lab.stimuli / FIRST).mkdir()


def pipe_in_place(lab):
    (lab.stimuli / FIRST).unlink()
    os.mkfifo(lab.stimuli / FIRST)


def linked_folder(lab):
    (lab.stimuli / "set").rename(lab.root / "elsewhere")
    (lab.stimuli / "set").symlink_to(lab.root / "elsewhere")
    (lab.stimuli / "other.png").write_bytes((lab.root / "elsewhere/00.png").read_bytes())


def of_another_name(lab, name):
    (lab.stimuli / name).parent.mkdir(parents=True, exist_ok=True)
    (lab.stimuli / FIRST).rename(lab.stimuli / name)
    lab.trials.write_text(lab.trials.read_text().replace(FIRST, name))


def caption(lab, text):
    """Put another caption in place of the first image's."""
    lab.captions.write_text(lab.captions.read_text().replace("a pattern, set/00.png", text))


COPY = "set/08.png is in the test of sub01 and has the same pixels as set/00.png, which is in train; expected one"


MALFORMED = {
    "a leak saved again": (
        lambda lab: again_in_the_test(lab, lambda image, path: image.save(path, "PNG", compress_level=1)),
        COPY,
    ),
    "a leak in another format": (lambda lab: again_in_the_test(lab, lambda image, path: image.save(path, "BMP")), COPY),
    "a leak in a lossless one": (
        lambda lab: again_in_the_test(lab, lambda image, path: image.save(path, "WEBP", lossless=True)),
        COPY,
    ),
    "a leak with metadata": (
        lambda lab: again_in_the_test(lab, lambda image, path: image.save(path, "TIFF", description="a copy")),
        COPY,
    ),
    "a leak with alpha": (
        lambda lab: again_in_the_test(lab, lambda image, path: image.convert("RGBA").save(path)),
        COPY,
    ),
    "a leak that is turned": (lambda lab: again_in_the_test(lab, upside_down), COPY),
    "a leak of grey in colours": (in_colours, COPY),
    "a bit that its checksum knows": (
        lambda lab: of_another_checksum(lab.stimuli / FIRST),
        "set/00.png cannot be read to its end (broken PNG file (bad header checksum in b'IDAT')); copy or",
    ),
    "a bomb": (
        lambda lab: of_size(lab.stimuli / FIRST, 50_000, 50_000),
        "set/00.png has more than 89,478,485 pixels; expected what was on the screen, so save it smaller",
    ),
    "a smaller bomb": (
        lambda lab: of_size(lab.stimuli / FIRST, 10_000, 10_000),
        "has more than 89,478,485 pixels; exp",
    ),
    "an empty image": (
        lambda lab: (lab.stimuli / FIRST).write_bytes(b""),
        "set/00.png is empty; copy or save it again",
    ),
    "a link loop": (lambda lab: link(lab, "00.png"), "set/00.png is, or lies below, a link that leads back to itself"),
    "a link to nowhere": (lambda lab: link(lab, "gone.png"), "set/00.png is a link to gone.png, which does not exist"),
    "annexed": (
        lambda lab: link(lab, "../.git/annex/objects/1/2/MD5E-s3--4.png/MD5E-s3--4.png"),
        "which does not exist; git-annex has not fetched it, so run datalad get or git annex get",
    ),
    "a pointer of git-annex": (
        lambda lab: (lab.stimuli / FIRST).write_text("/annex/objects/MD5E-s3--4.png\n"),
        "set/00.png is a pointer of git-annex, not the file itself; fetch it with datalad get or git annex get",
    ),
    "a pointer of LFS": (
        lambda lab: (lab.stimuli / FIRST).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "set/00.png is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    ),
    "a web page": (
        lambda lab: (lab.stimuli / FIRST).write_text("<!doctype html><title>Sign in</title>"),
        "set/00.png is a web page, such as that of a login or an error, not the file itself",
    ),
    "a folder named like an image": (
        folder_in_place,
        "'set/00.png' is not in the folder of images; it is a folder; exp",
    ),
    "a pipe": (pipe_in_place, "set/00.png is a pipe or a device; expected an image"),
    "a folder that is a link": (
        linked_folder,
        "set is a link to a folder, which is not followed; put the folder itself",
    ),
    "a hidden image": (
        lambda lab: of_another_name(lab, "set/.00.png"),
        "hidden files and what systems add are no stim",
    ),
    "an image of macOS' archives": (
        lambda lab: of_another_name(lab, "__MACOSX/00.png"),
        "'__MACOSX/00.png' is not in the folder of images; hidden files and what systems add are no stimuli, so rename",
    ),
    "another format": (
        lambda lab: of_another_name(lab, "set/00.gif"),
        "images end in .png, .jpg, .jpeg, .bmp, .tif, .t",
    ),
    "a GIF by another name": (
        lambda lab: Image.new("RGB", (SIDE, SIDE)).save(lab.stimuli / FIRST, "GIF"),
        "set/00.png is no image that can be read; expected 8-bit RGB or grey",
    ),
    "grey TIFF of 16 bits": (
        lambda lab: Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)).save(lab.stimuli / FIRST, "TIFF"),
        "set/00.png has 16 bits per channel; expected 8, so convert it",
    ),
    "TIFF of real numbers": (
        lambda lab: Image.fromarray(np.zeros((SIDE, SIDE), np.float32)).save(lab.stimuli / FIRST, "TIFF"),
        "set/00.png has 32 bits per channel; expected 8, so convert it",
    ),
    "a transparent colour": (
        lambda lab: image(lab, Image.new("RGB", (SIDE, SIDE)), transparency=(0, 0, 0)),
        "set/00.png has a transparent colour; expected 8-bit RGB or grey, so save it as it was on the screen",
    ),
    "a name in two forms": (
        lambda lab: [
            (lab.stimuli / unicodedata.normalize(form, "é.png")).write_bytes((lab.stimuli / FIRST).read_bytes())
            for form in ("NFC", "NFD")
        ],
        "whose names are the same text in two forms; rename one of them",
    ),
    "a name that is not UTF-8": (
        lambda lab: (
            os.rename(lab.stimuli / FIRST, os.fsencode(lab.stimuli) + b"/set/b\xe4r.png"),
            lab.trials.write_text(lab.trials.read_text().replace(FIRST, "set/bär.png")),
        ),
        "'set/bär.png' is not in the folder of images; did you mean set/b\\udce4r.png?",
    ),
    "trials in UTF-16": (
        lambda lab: lab.trials.write_bytes(lab.trials.read_text().encode("utf-16")),
        "trials.tsv line 1 begins with byte 0xff, so it is UTF-16 or 32; save it as UTF-8",
    ),
    "captions that are objects": (
        lambda lab: caption(lab, "{'image_id': 5, 'caption': 'a dog'}"),
        "an object or a list written as a text; expected the caption alone",
    ),
    "captions that are lists": (
        lambda lab: caption(lab, "['a dog', 'a cat']"),
        "captions.tsv line 2: the caption of set/00.png is",
    ),
    "captions that were missing": (
        lambda lab: caption(lab, "nan"),
        "captions.tsv line 2: the caption of set/00.png is 'nan', which programs write for a missing value",
    ),
    "captions that BIDS calls missing": (
        lambda lab: caption(lab, "n/a"),
        "captions.tsv: every caption of set/00.png is empty; write one, or set captions: none",
    ),
    "captions that are a folder": (
        lambda lab: (lab.captions.unlink(), lab.captions.mkdir()),
        "captions.tsv is a folder; expected a file",
    ),
    "an endless cell": (
        lambda lab: caption(lab, "a" * 200_000),
        "captions.tsv line 2 cannot be read as a table (field",
    ),
    "an empty line": (
        lambda lab: lab.trials.write_text(lab.trials.read_text().replace("\n", "\n\n", 3)),
        "trials.tsv line 2 is empty; delete it",
    ),
    "a leak under another name": (copy_between_splits, "is in the test of sub01 and has the same pixels as set/00.png"),
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
    "an empty split": (no_test, "has 0 test stimuli; expected at least 2"),
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
        "sub-01_trials.tsv 26 rows for it; expected as many",
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
    expected = f"{lab.root}/betas.mat ends in .mat; expected one of .nii, .nii.gz, .npy, .h5, .hdf5"
    assert only == f"{expected}; files of GLMsingle's own are read with adapter: bids (docs/your_data.md)"
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


ADDED = (
    *("set/._00.png", "set/.#00.png", "set/~$00.png", "set/.DS_Store", "set/Thumbs.db", "set/desktop.ini"),
    *("set/00.png~", "set/#00.png#", "__MACOSX/set/00.png", "@eaDir/00.png", ".ipynb_checkpoints/00.png"),
    *(".git/annex/objects/00.png", "$RECYCLE.BIN/00.png", "set/00.png:Zone.Identifier"),
)


def test_what_systems_and_programs_add_has_no_id_and_is_said_once(lab, caplog):
    ids = custom_files.stimulus_ids(lab.stimuli)
    for name in ADDED:
        (lab.stimuli / name).parent.mkdir(parents=True, exist_ok=True)
        (lab.stimuli / name).write_bytes(b"\0\5\x16\7")
    (lab.stimuli / "loop").symlink_to(".")
    (lab.stimuli / "folder.png").mkdir()
    assert custom_files.stimulus_ids(lab.stimuli) == ids
    files = [custom_files.SubjectFiles.from_names("sub01", str(lab.trials), [str(lab.betas)], [str(lab.mask)], {})]
    for _ in range(2):
        custom_checks.validate(lab.root / "sound.txt", files, lab.stimuli, lab.captions)
    (said,) = [record.getMessage() for record in caplog.records if "are no stimuli" in record.getMessage()]
    assert said.startswith(f"{lab.stimuli}: {len(ADDED)} files are no stimuli and get no id: $RECYCLE.BIN/00.png, ")


def test_images_that_are_not_there_have_an_id_all_the_same(lab):
    ids = custom_files.stimulus_ids(lab.stimuli)
    link(lab, ".git/annex/objects/gone.png")
    assert custom_files.stimulus_ids(lab.stimuli) == ids


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_tables", ["NFC", "NFD"])
def test_names_match_whichever_way_letters_and_accents_are_stored(lab, on_disk, in_tables):
    ids = custom_files.stimulus_ids(lab.stimuli)
    (lab.stimuli / FIRST).rename(lab.stimuli / unicodedata.normalize(on_disk, "set/0ö.png"))
    for path in (lab.trials, lab.captions):
        text = path.read_text(encoding="utf-8").replace("set/00", "set/0ö")
        path.write_text(unicodedata.normalize(in_tables, text), encoding="utf-8")
    assert found(lab) == []
    renamed = custom_files.stimulus_ids(lab.stimuli)
    name = unicodedata.normalize(on_disk, "set/0ö.png")
    assert [each for each in renamed if each != name] == [each for each in ids if each != FIRST]
    splits = custom_files.split_stimuli(custom_files.read_trials(lab.trials), renamed)
    assert sorted(stimulus_table.all_ids(splits)) == sorted(ids.values())
    inputs = SimpleNamespace(stim_files=lab.root / "ids.tsv", captions=str(lab.captions), stimuli=lab.root / "s.tsv")
    custom.write_ids(inputs.stim_files, renamed)
    stimulus_table.write(inputs.stimuli, splits)
    inputs.stim_files = str(inputs.stim_files)
    custom.write_captions(inputs, SimpleNamespace(captions=lab.root / "captions.json"), {})
    assert captions.read(lab.root / "captions.json")[renamed[name]] == [unicodedata.normalize(in_tables, CAPTION)]
    custom_files.copy_images(
        lab.stimuli, lab.root / "images.h5", np.array([renamed[name]], np.int32), {renamed[name]: name}
    )


def test_an_image_that_changed_since_is_refused_when_it_is_copied(lab):
    names = {number: name for name, number in custom_files.stimulus_ids(lab.stimuli).items()}

    def copied():
        custom_files.copy_images(lab.stimuli, lab.root / "images.h5", np.array([1, 0], np.int32), names)

    Image.new("RGB", (48, SIDE)).save(lab.stimuli / FIRST)
    with pytest.raises(
        ValueError, match=r"set/00\.png has 48 x 64 pixels, images before it 64 x 64; expected one size"
    ):
        copied()
    cut_short(lab.stimuli / "set/01.png")
    with pytest.raises(ValueError, match=r"set/01\.png cannot be read to its end \(.*\); copy or save it again"):
        copied()
    assert not (lab.root / "images.h5").exists()


FORMATS = {"PNG": {}, "JPEG": {}, "BMP": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_images_get_one_sentence(tmp_path, kind):
    random = np.random.default_rng(0)
    file = io.BytesIO()
    pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((24, 24)).save(file, kind, **FORMATS[kind])
    path, n_sentences = tmp_path / "set.png", 0
    for _ in range(100):
        content = bytearray(file.getvalue())
        match random.integers(3):
            case 0:
                del content[int(random.integers(len(content))) :]
            case 1:
                for place in random.integers(len(content), size=4):
                    content[place] ^= 1 << int(random.integers(8))
            case _:
                place = int(random.integers(len(content)))
                content[place : place + 16] = random.bytes(16)
        path.write_bytes(content)
        _, sentences = image_checks.pixels(tmp_path, {"set.png": "set.png"})
        assert all(sentence.startswith(str(tmp_path)) and "\n" not in sentence for sentence in sentences)
        n_sentences += len(sentences)
    assert n_sentences > 25


def test_without_images(lab):
    for path in (lab.stimuli / "set").iterdir():
        path.unlink()
    assert found(lab)[0].startswith(f"{lab.stimuli} has no image; expected files that end in .png")


@pytest.mark.parametrize(("kept", "words"), [(0, "0 test stimuli"), (1, "1 test stimulus")])
def test_too_few_test_stimuli_are_refused_before_any_job(lab, kept, words):
    """With one, every score that compares stimuli would fail, after all images were made."""
    of_test(lab, kept)
    expected = (
        f"{lab.trials} has {words}; expected at least 2, for every score compares a stimulus with others; name more"
    )
    assert [sentence for sentence in found(lab) if sentence.startswith(expected)]
    assert len(found(lab)) == 1


def test_two_test_stimuli_are_enough(lab):
    of_test(lab, 2)
    assert found(lab) == []


def test_a_dataset_that_passed_when_one_test_stimulus_did_is_validated_again(lab, tmp_path):
    """The record of a sound dataset names the version of the checks."""
    files = custom_files.SubjectFiles("sub01", lab.trials, (lab.betas,), lab.mask, {})
    custom_checks.validate(tmp_path / "sound.txt", [files], lab.stimuli, lab.captions)
    assert custom_checks.VERSION > 1
    of_test(lab, 1)
    with pytest.raises(ValueError, match="1 test stimulus; expected at least 2"):
        custom_checks.validate(tmp_path / "sound.txt", [files], lab.stimuli, lab.captions)


def of_test(lab, kept):
    """Leave so many test stimuli; the trials of the others are left out."""
    names = sorted({row["stim_file"] for row in lab.rows() if row["split"] == "test"})
    left_out = names[kept:]
    lab.write_rows([row | ({"split": "n/a"} if row["stim_file"] in left_out else {}) for row in lab.rows()])
