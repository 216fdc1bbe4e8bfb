"""LAION-fMRI with one thing wrong: each ends in one sentence that names the file, what was found, and what to do."""

import json
import shutil
import tempfile
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
from laion_config import laion_config, laion_settings, write_artifacts
from laion_tree import AFFINE, HOLE, OFTEN, OOD, unique_names, write_split, write_tree

from brain_diffuser.workflow.config import checks

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Never changed."""
    return write_tree(tmp_path_factory.mktemp("sound") / "laion")


@pytest.fixture
def tree(sound):
    """A copy in a folder with a short name, because messages cut words of more than 200 letters."""
    with tempfile.TemporaryDirectory() as folder:
        yield sound._replace(root=shutil.copytree(sound.root, Path(folder) / "laion"))


def replace(path, old, new, times=1):
    text = path.read_text(encoding="utf-8-sig")
    assert old in text
    path.write_text(text.replace(old, new, times), encoding="utf-8")


def edit_volume(path, change):
    image = nib.load(path)
    volume = np.asarray(image.dataobj).copy()
    nib.Nifti1Image(change(volume), image.affine).to_filename(path)


def edit_split(path, change):
    split = json.loads(path.read_text())
    change(split)
    path.write_text(json.dumps(split))


def infinite(volume):
    volume[1, 1, 1, 3] = np.inf
    return volume


def never_written(volume):
    volume[..., 7] = 0
    return volume


def scaled_whole_numbers(tree):
    """As int16 without a scaling, as NSD stores 300 times percent signal change."""
    path = tree.betas("sub-01", 1)
    volume = np.nan_to_num(np.asarray(nib.load(path).dataobj) * 300).astype(np.int16)
    nib.Nifti1Image(volume, AFFINE).to_filename(path)


BEFORE_JOBS = {
    "fewer rows than volumes": (
        lambda tree: tree.trials("sub-01", 2).write_text("\n".join(_rows(tree)[:-1]) + "\n"),
        r"ses-02_task-images_space-T1w\S+nii.gz has 36 volumes, its table of trials 35 rows; expected as many",
    ),
    "a volume named twice": (
        lambda tree: replace(tree.trials("sub-01", 1), "\t0\t01\t", "\t1\t01\t"),
        r"trials.tsv: beta_index has to be 0 to \d+ in its \d+ rows, and 0 comes 0 times; expected a row for each",
    ),
    "no column of that name": (
        lambda tree: replace(tree.trials("sub-01", 1), "beta_index", "index"),
        r"trials.tsv lacks column beta_index; its first line has onset, label, index, run, session, tab-separated",
    ),
    "two sessions in one table": (
        lambda tree: replace(tree.trials("sub-01", 1), "ses-01", "ses-09"),
        r"trials.tsv has sessions ses-0\d, ses-0\d; expected one, so download the table again",
    ),
    "a label that no metadata have": (
        lambda tree: replace(tree.trials("sub-01", 1), f"{OFTEN[0]}\t", f"x{OFTEN[0]}\t"),
        rf"trials.tsv names x{OFTEN[0]}, which is not in the metadata; are they of one release\?",
    ),
    "another subject's image": (
        lambda tree: replace(
            tree.metadata, f"{unique_names('sub-01')[2]},LAION,sub-01", f"{unique_names('sub-01')[2]},LAION,sub-07"
        ),
        r"_02_p01.jpg, which the metadata's participant column gives to subject 7 alone; expected images of sub01",
    ),
    "metadata with an image twice": (
        lambda tree: replace(tree.metadata, OFTEN[1], OFTEN[2]),
        r"metadata.csv line \d+: image_name is '\S+', as in line \d+; expected it once",
    ),
    "repeats that are no number": (
        lambda tree: replace(tree.metadata, "shared,12rep", "shared,often"),
        r"metadata.csv line \d+: n_reps is 'often'; expected a number such as 12 or 12rep",
    ),
    "a unique image of nobody": (
        lambda tree: replace(tree.metadata, ",sub-05,unique", ",,unique"),
        r"participant of the unique image \S+_p03.jpg is ''; expected one, such as sub-03",
    ),
    "neither unique nor shared": (
        lambda tree: replace(tree.metadata, ",unique,", ",own,"),
        r"unique_or_shared is 'own'; expected unique or shared",
    ),
    "a split that is no JSON": (
        lambda tree: tree.split("sub-01", "random_0").write_text('{"variants": ['),
        r"sub-01/random_0.json is no JSON from line 1 column \d+ on \(.*\); it may be cut short",
    ),
    "a split without variants": (
        lambda tree: edit_split(tree.split("sub-01", "random_0"), lambda split: split.pop("variants")),
        r"random_0.json has no list of variants; expected a split of LAION-fMRI as published",
    ),
    "an image in train and test": (
        lambda tree: edit_split(
            tree.split("sub-01", "random_0"),
            lambda split: split["variants"][0]["train_ids"].append(split["variants"][0]["test_ids"][0]),
        ),
        r"random_0.json names \S+ more than once; expected each image in train or in test alone",
    ),
    "a split that is cut short": (
        lambda tree: edit_split(tree.split("sub-01", "random_0"), lambda split: split["variants"][0]["test_ids"].pop()),
        r"random_0.json: n_test is 6, and test_ids has 5; is it cut short\?",
    ),
    "the split of another subject": (
        lambda tree: tree.split("sub-01", "random_0").write_text(tree.split("sub-06", "random_0").read_text()),
        r"random_0.json names \S+_p02.jpg.* gives to subject 6 alone; expected images of sub01, so is the file another",
    ),
    "several variants": (
        lambda tree: write_split(
            tree.split("sub-01", "random_0"),
            [{"variant_id": f"v{n}", "train_ids": list(OFTEN[2:]), "test_ids": list(OFTEN[:2])} for n in range(2)],
            name="random_0",
        ),
        r"random_0.json has 2 variants, v0, v1; name one of them in split.variant",
    ),
    "no mask": (
        lambda tree: tree.mask("sub-01", "laion", "laion-general").unlink(),
        r"rois/sub-01 has no mask of laion-general on the grid of the betas \(res-1pt8\); its labels, without hyphens, "
        r"are EBA, FBA, FFA1, FFA2, MPA \(and \d+ more\); correct settings.mask",
    ),
    "an empty mask": (
        lambda tree: edit_volume(tree.mask("sub-01", "laion", "laion-general"), np.zeros_like),
        r"label-laion-general_mask.nii.gz selects 0 voxels; expected at least 1 above 0 in laion-general",
    ),
    "a region outside of the mask": (
        lambda tree: edit_volume(tree.mask("sub-01", "retinotopy", "hV4"), _outside(tree)),
        r"region V4 \(hV4\) has 0 of \d+ voxels of \S+; expected at least 1, so correct settings.regions or",
    ),
    "a mask on another grid": (
        lambda tree: nib.Nifti1Image(np.ones((6, 5, 4), np.uint8), AFFINE).to_filename(
            tree.mask("sub-01", "laion", "laion-general")
        ),
        r"has volumes of \(5, 4, 3\), \S+ \(6, 5, 4\); expected one grid",
    ),
    "betas elsewhere": (
        lambda tree: nib.Nifti1Image(np.asarray(nib.load(tree.betas("sub-01", 1)).dataobj), 2 * AFFINE).to_filename(
            tree.betas("sub-01", 1)
        ),
        r"have different affines \(voxel 0 0 0 lies at .*\); expected one grid. Is the mask another subject's or resol",
    ),
    "betas that are no series": (
        lambda tree: edit_volume(tree.betas("sub-01", 1), lambda volume: volume[..., 0]),
        r"ses-01\S+ has shape \(5, 4, 3\); expected \(x, y, z, trials\). Download it again.",
    ),
    "whole numbers": (
        scaled_whole_numbers,
        r"stores int16 without a scaling in its header; expected real numbers, for whole ones would be rounded betas",
    ),
    "no betas": (
        lambda tree: tree.betas("sub-01", 4).unlink(),
        r"ses-04\S+nii.gz is missing; expected a NIfTI file of volumes. Download it again.",
    ),
}

IN_JOBS = {
    "infinite betas": (
        lambda tree: edit_volume(tree.betas("sub-01", 1), infinite),
        r"has 1 values that are infinite in trial 3 \(from 0\), the first in voxel \(1, 1, 1\); write the file again",
    ),
    "a trial that was never written": (
        lambda tree: edit_volume(tree.betas("sub-01", 1), never_written),
        r"ses-01\S+: trial 7 \(from 0\) is 0.0 in all \d+ voxels of the mask, as where nothing was measured or written",
    ),
    "a checksum that does not agree": (
        lambda tree: _damage(tree.betas("sub-01", 1)),
        r"ses-01\S+ cannot be read .*Download it again.",
    ),
    "ceilings as shares": (
        lambda tree: edit_volume(tree.map("sub-01", "desc-Noiseceiling4rep"), lambda volume: volume / 100),
        r"Noiseceiling4rep\S+ has values from 0 to 0.\d+ in the mask; expected noise ceilings in percent, 0 to 100",
    ),
    "another number of images": (
        lambda tree: _write_images(tree, lambda stored: stored[:-1]),
        r"stimuli.h5 has \d+ images, the metadata \d+ rows; expected as many, for a row is the id of an image",
    ),
    "decoded images": (
        lambda tree: _write_images(tree, lambda stored: np.zeros((len(stored), 4, 4, 3), np.uint8)),
        r"stimuli.h5: images is uint8 of shape \(\d+, 4, 4, 3\); expected one row of encoded bytes",
    ),
    "no dataset of images": (
        lambda tree: h5py.File(tree.images, "w").close(),
        r"stimuli.h5 lacks a dataset images; it has nothing. Download it again.",
    ),
    "an image that ends early": (
        lambda tree: _write_images(tree, lambda stored: [each[:200] for each in stored]),
        r"stimuli.h5: image \d+, \S+, is no JPEG or PNG that can be read to its end \(OSError\). Download it again.",
    ),
    "an empty image": (
        lambda tree: _write_images(tree, lambda stored: [each[:0] for each in stored]),
        r"stimuli.h5: image \d+, \S+, is empty \(0 bytes\); expected an encoded JPEG or PNG. Download it again.",
    ),
    "captions of no human": (
        lambda tree: tree.captions.write_text(tree.captions.read_text().replace(",human,", ",person,")),
        r"captions.csv has no caption of source human; it has ai, person, so set caption_source",
    ),
    "an image without captions": (
        lambda tree: replace(tree.captions, unique_names("sub-01")[3], unique_names("sub-07")[3], 3),
        r"captions.csv has no caption of source human for 1 of \d+ \w+ stimuli, \S+_03_p01.jpg; download it again",
    ),
    "a caption that is no text": (
        lambda tree: replace(tree.captions, f'"a ""1"", of {tree.names.index(OFTEN[0])}"', "nan"),
        r"captions.csv line \d+: the caption of \S+ is 'nan', which programs write for a missing value",
    ),
}


def _rows(tree):
    """The lines of a table, the trial of the last volume last."""
    header, *rows = tree.trials("sub-01", 2).read_text().splitlines()
    return [header, *sorted(rows, key=lambda row: int(row.split("\t")[2]))]


def _outside(tree):
    """What makes a region of all voxels that are not in the mask."""
    return lambda volume: (~tree.masks["sub-01"]["laion-general"]).astype(volume.dtype)


def _damage(path):
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum
    path.write_bytes(content)


def _write_images(tree, change):
    with h5py.File(tree.images) as file:
        stored = [file["images"][row] for row in range(len(tree.names))]
    changed = change(stored)
    with h5py.File(tree.images, "w") as file:
        if isinstance(changed, np.ndarray):
            file["images"] = changed
            return
        images = file.create_dataset("images", (len(changed),), h5py.vlen_dtype(np.uint8))
        for row, each in enumerate(changed):
            images[row] = each


@pytest.mark.parametrize("case", BEFORE_JOBS)
def test_what_is_said_before_any_job(tree, tmp_path, case):
    damage, sentence = BEFORE_JOBS[case]
    config = laion_config(tree.root)
    config = config.model_copy(update={"subjects": ["sub01", "sub07"]})
    damage(tree)
    with pytest.raises(ValueError, match=sentence) as error:
        config.adapter.validate(config, tmp_path / "sound.txt")
    first, *others = str(error.value).splitlines()
    assert first.startswith("The dataset has ")
    assert len({line.partition(". ")[2] for line in others}) == len(others)
    assert not (tmp_path / "sound.txt").exists()


@pytest.mark.parametrize("case", IN_JOBS)
def test_what_a_job_says(tree, tmp_path, case):
    damage, sentence = IN_JOBS[case]
    damage(tree)
    with pytest.raises(ValueError, match=sentence) as error:
        write_artifacts(laion_config(tree.root), "sub01", tmp_path / "data")
    assert "\n" not in str(error.value)


def test_sessions_that_are_not_there(tree):
    config = laion_config(tree.root, {"nsd": {"sessions": 5}})
    with pytest.raises(FileNotFoundError, match=r"sub-01 lacks ses-05; expected every session that is asked for"):
        config.adapter.sessions(config, "sub01")


def test_an_ood_test_needs_the_setting_for_captions(tree, tmp_path):
    config = laion_config(tree.root, {"settings": {"split": {"name": "ood"}}})
    with pytest.raises(ValueError, match=rf"3 of 3 test stimuli, .*{OOD[0]}.*set test_without_caption to no caption"):
        write_artifacts(config, "sub01", tmp_path / "data")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settings": {"zscore": "sessions"}}, "settings.zscore is 'sessions'; expected none, session, run or train"),
        (
            {"settings": {"split": {"names": "tau"}}},
            "settings.split.names is not a known key; expected folder, name, pool",
        ),
        (
            {"settings": {"split": "tau"}},
            "settings.split.folder is missing; write the keys folder, name, pool, variant",
        ),
        ({"settings": {"background": 256}}, "settings.background is 256; expected a grey from 0 to 255"),
        ({"settings": {"image_size": 8}}, "settings.image_size is 8; expected 16 to 4096 pixels"),
        ({"settings": {"mask": []}}, r"settings.mask is \[\]; expected labels of regions, such as \[laion-general\]"),
        (
            {"settings": {"mask": {"r2mean_above": 1.0, "file": "x"}}},
            "settings.mask is {.*}; expected labels of regions",
        ),
        ({"settings": {"mask": {"r2mean_above": True}}}, "settings.mask is {.*}; expected labels of regions"),
        ({"settings": {"regions": {"shape": ["PPA"]}}}, "settings.regions has 'shape'; expected a name of letters"),
        ({"settings": {"regions": {"faces": []}}}, r"settings.regions.faces is \[\]; expected labels of regions"),
        ({"settings": {"check_affine": "no"}}, "settings.check_affine is 'no'; expected true or false"),
        ({"settings": {"root": "no"}}, "settings.root is no/stimuli/task-images_metadata.csv, which does not exist"),
        (
            {"settings": {"split": {"name": "random_9"}}},
            r"settings.split is \S+/sub-01/random_9.json, which does not exist",
        ),
        ({"nsd": {"constant_voxels": "no"}}, 'nsd.constant_voxels is "no"; expected error or drop'),
        ({"captions": "no.csv"}, "datasets.laion_fmri.captions is no.csv, which does not exist"),
    ],
)
def test_what_the_configuration_says(tree, changes, sentence):
    with pytest.raises(ValueError, match=rf"^config.yaml: .*{sentence}"):
        checks.read(laion_settings(tree.root, changes), tree.root)


def test_a_setting_that_is_left_out(tree):
    settings = laion_settings(tree.root)
    del settings["datasets"]["laion_fmri"]["settings"]["nan_voxels"]
    with pytest.raises(
        ValueError, match=r"settings.nan_voxels is missing; config.laion_fmri.yaml has all of these keys"
    ):
        checks.read(settings, tree.root)


def test_subjects_are_named_by_numbers(tree):
    with pytest.raises(ValueError, match=r"subjects has CSI1; expected names such as sub01 for LAION-fMRI's sub-01"):
        checks.read(laion_settings(tree.root) | {"subjects": ["CSI1"]}, tree.root)


def test_all_voxels_are_nan(tree, tmp_path):
    def only_the_hole(volume):
        volume[...] = 0
        volume[HOLE] = 1
        return volume

    edit_volume(tree.mask("sub-01", "laion", "laion-general"), only_the_hole)
    with pytest.raises(ValueError, match=r"all 1 voxels are NaN in some trials; expected betas inside the mask"):
        write_artifacts(laion_config(tree.root, {"settings": {"regions": {}}}), "sub01", tmp_path / "data")
