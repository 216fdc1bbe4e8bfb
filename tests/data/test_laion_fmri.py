"""LAION-fMRI on a toy tree: every trap of the published files, and what the artifacts hold."""

import io
import json
import logging
import os
import shutil

import h5py
import nibabel as nib
import numpy as np
import pytest
from laion_config import laion_config, write_artifacts
from laion_tree import (
    EDGE,
    HOLE,
    N_SESSIONS,
    NSD,
    OFTEN,
    OOD,
    SUBJECTS,
    pixels_of,
    unique_names,
    write_split,
    write_tree,
)
from PIL import Image

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import laion_fmri, laion_images, laion_tables, rois, stimulus_table

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Never changed."""
    return write_tree(tmp_path_factory.mktemp("laion") / "laion")


@pytest.fixture(scope="module")
def written(tree, tmp_path_factory):
    """The artifacts of sub06, whose images end in p02; never changed."""
    return write_artifacts(laion_config(tree.root), "sub06", tmp_path_factory.mktemp("written") / "data")


def trial_betas(tree, subject, label="laion-general"):
    """Betas of all trials as the file has them, z-scored within sessions, and the names of what was shown."""
    mask = tree.masks[subject][label].copy()
    mask[EDGE] = mask[HOLE] = False
    sessions = [np.asarray(nib.load(tree.betas(subject, n)).dataobj)[mask].T for n in range(1, N_SESSIONS + 1)]
    zscored = [(betas - betas.mean(0, dtype=float)) / betas.std(0, dtype=float) for betas in sessions]
    return np.concatenate(zscored), [name for names in tree.shown[subject] for name in names], mask


def test_betas_are_means_of_trials_zscored_within_their_session(tree, written):
    trials, shown, mask = trial_betas(tree, "sub-06")
    split = json.loads(tree.split("sub-06", "random_0").read_text())["variants"][0]
    for name in ("train", "test"):
        betas = hdf5.load(written / f"betas_{name}.h5")
        names = [tree.names[number] for number in betas.nsd_id.tolist()]
        assert sorted(names) == sorted(split[f"{name}_ids"])
        expected = [trials[[row for row, each in enumerate(shown) if each == name]].mean(0) for name in names]
        np.testing.assert_allclose(betas.values, expected, atol=2e-6)
    with h5py.File(written / "rois.h5") as file:
        assert file["voxel"][:].tolist() == np.flatnonzero(mask).tolist()
    with hdf5.reading(written / "betas_train.h5") as (values, _):
        assert hdf5.about(values)["unit"] == "standard deviations of a session"


def test_a_voxel_that_is_nan_in_one_session_is_dropped_everywhere_and_said(tree, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = laion_config(tree.root)
    write_artifacts(config, "sub01", tmp_path / "data", ("design", "betas"))
    n = int(tree.masks["sub-01"]["laion-general"].sum())
    assert f"1 of {n} voxels of the mask are NaN in some of its trials, the first is voxel {EDGE}" in caplog.text
    assert f"2 of {n} voxels of " in caplog.text
    assert "are NaN in some trials, and are left out of everything" in caplog.text
    assert hdf5.load(tmp_path / "data/betas_test.h5").values.shape[1] == n - 2


def test_nan_as_zero_keeps_the_voxel_and_error_names_it(tree, tmp_path):
    config = laion_config(tree.root, {"settings": {"nan_voxels": "zero"}, "nsd": {"constant_voxels": "drop"}})
    write_artifacts(config, "sub01", tmp_path / "data", ("design", "betas"))
    mask = tree.masks["sub-01"]["laion-general"]
    assert hdf5.load(tmp_path / "data/betas_test.h5").values.shape[1] == mask.sum() - 1, "EDGE is NaN in all trials"
    config = laion_config(tree.root, {"settings": {"nan_voxels": "error"}})
    with pytest.raises(ValueError, match=r"ses-01.* that are NaN in trial 0 .*voxel \(0, 0, 0\); set nan_voxels"):
        write_artifacts(config, "sub01", tmp_path / "data", ("design", "betas"))


def test_the_suffix_of_a_name_is_not_its_subject(tree, written):
    """p02 is sub-06; the metadata say so, and the artifacts have exactly its unique images."""
    used = stimulus_table.all_ids(stimulus_table.read(written / "stimuli.tsv")).tolist()
    unique = {tree.names[number] for number in used if tree.names[number].startswith("unique")}
    assert unique == set(unique_names("sub-06"))
    assert all(name.endswith("_p02.jpg") for name in unique)


def test_a_plus_in_a_name_is_a_plus(tree, written):
    names = (written / "stim_files.tsv").read_text()
    assert "shared_12rep_THINGS+_kmeans_214_banner.jpg" in names
    split = stimulus_table.read(written / "stimuli.tsv")
    assert sum(len(each.nsd_id) for each in split.values()) == len(OFTEN) + len(NSD) + 12


def test_one_missing_repetition_is_counted(tree, written, caplog):
    caplog.set_level(logging.INFO)
    write_artifacts(laion_config(tree.root), "sub06", written, ("design",))
    stimuli = stimulus_table.read(written / "stimuli.tsv")
    repeats = {
        tree.names[number]: len(trials)
        for each in stimuli.values()
        for number, trials in zip(each.nsd_id.tolist(), each.trials, strict=True)
    }
    assert repeats.pop(unique_names("sub-06")[0]) == 3
    assert all(n == (12 if name in OFTEN else 4) for name, n in repeats.items())
    assert caplog.text.count("1 stimuli were shown less often than n_reps says") == 1


@pytest.mark.parametrize("n_reps", ["text", "number"])
def test_repeats_are_read_as_number_and_as_text(tmp_path, n_reps):
    images = laion_tables.read_metadata(write_tree(tmp_path / "laion", n_reps=n_reps).metadata)
    assert {images[name].n_repeats for name in OFTEN} == {12}
    assert {images[name].n_repeats for name in (*NSD, *OOD)} == {4}
    assert images[unique_names("sub-03")[0]].subject == 3
    assert images[OFTEN[0]].subject is None


def test_both_spellings_of_labels_give_the_same_regions(tree, written, tmp_path):
    other = write_tree(tmp_path / "client", spelling="client")
    assert other.mask("sub-06", "face", "FFA1").is_file()
    folder = write_artifacts(laion_config(other.root), "sub06", tmp_path / "data", ("design", "betas"))
    for name in ("betas_train.h5", "betas_test.h5"):
        np.testing.assert_array_equal(hdf5.load(folder / name).values, hdf5.load(written / name).values)
    config = laion_config(tree.root)
    found, expected = (rois.masks(config.regions, each / "rois.h5", "sub06") for each in (folder, written))
    assert list(found) == list(expected)
    assert all((found[name] == expected[name]).all() for name in found)


def test_regions_are_unions_over_labels_and_folders(tree, written):
    _, _, mask = trial_betas(tree, "sub-06")
    found, of = rois.masks(laion_config(tree.root).regions, written / "rois.h5", "sub06"), tree.masks["sub-06"]
    for region, labels in {
        "faces": ("OFA", "FFA-1", "FFA-2"),
        "bodies": ("EBA", "FBA"),  # EBA lies in two folders
        "V4": ("hV4",),
        "ventral_stream": ("laion-ventral",),
    }.items():
        np.testing.assert_array_equal(found[region], np.any([of[label] for label in labels], axis=0)[mask])


def test_a_region_lacks_a_label_of_some_subject(tree, tmp_path, caplog):
    root = shutil.copytree(tree.root, tmp_path / "laion")
    (root / tree.mask("sub-06", "face", "FFA-2").relative_to(tree.root)).unlink()
    write_artifacts(laion_config(root), "sub06", tmp_path / "data", ("design", "betas"))
    assert "region faces: " in caplog.text
    assert (
        "has no mask of FFA-2 on the grid of the betas (res-1pt8); its labels, without hyphens, are EBA, FBA"
        in caplog.text
    )


def test_what_is_transparent_shows_the_stated_grey(tree, tmp_path):
    split = {"split": {"name": "ood"}}
    for grey in (127, 90):
        settings = {**split, "background": grey, "test_without_caption": "no caption"}
        folder = write_artifacts(laion_config(tree.root, {"settings": settings}), "sub05", tmp_path / f"{grey}")
        images = hdf5.load(folder / "stimuli_test.h5")
        shown = dict(zip((tree.names[number] for number in images.nsd_id.tolist()), images.values, strict=True))
        assert set(shown) == set(OOD)
        for name in OOD[:2]:
            assert (shown[name][:, : 64 // 2] == (200, 30, 40)).all()
            assert (shown[name][:, 64 // 2 :] == grey).all()
        captions = json.loads((folder / "captions.json").read_text())
        assert all(captions[str(number)] == ["no caption"] for number in images.nsd_id.tolist())


def test_stimuli_are_the_decoded_images_in_the_order_of_the_table(tree, written):
    for split in ("train", "test"):
        images = hdf5.load(written / f"stimuli_{split}.h5")
        assert images.nsd_id.tolist() == stimulus_table.read(written / "stimuli.tsv")[split].nsd_id.tolist()
        for number, pixels in zip(images.nsd_id.tolist(), images.values, strict=True):
            expected = pixels_of(tree.names, tree.names[number])
            assert abs(pixels.astype(int) - expected).mean() < 3, "JPEG"


def test_larger_stimuli_are_made_smaller(tree, tmp_path):
    folder = write_artifacts(laion_config(tree.root, {"settings": {"image_size": 32}}), "sub01", tmp_path / "data")
    assert hdf5.load(folder / "stimuli_test.h5").values.shape == (6, 32, 32, 3)


def test_captions_are_the_humans_in_order(tree, written):
    captions = json.loads((written / "captions.json").read_text())
    for number, texts in captions.items():
        n = 3 if tree.names[int(number)].startswith("unique") else 5
        assert texts == [f'a "{place}", of {number}' for place in range(1, n + 1)]


def test_captions_of_all_sources_and_none(tree, tmp_path):
    folder = write_artifacts(
        laion_config(tree.root, {"settings": {"caption_source": "all"}}), "sub01", tmp_path / "all"
    )
    texts = json.loads((folder / "captions.json").read_text())
    number = next(number for number in texts if tree.names[int(number)] in OFTEN)
    assert texts[number][0] == f"machine words of {number}"
    assert len(texts[number]) == 6
    write_artifacts(laion_config(tree.root, {"captions": "none"}), "sub01", folder, ("captions",))
    assert {tuple(each) for each in json.loads((folder / "captions.json").read_text()).values()} == {("no caption",)}


def test_ceilings_in_percent_become_signal_to_noise(tree, written, tmp_path):
    with h5py.File(written / "rois.h5") as file:
        ncsnr, voxel = file["ncsnr"][:], file["voxel"][:]
    percent = np.asarray(nib.load(tree.map("sub-06", "desc-Noiseceiling4rep")).dataobj).ravel()[voxel]
    np.testing.assert_allclose(100 * ncsnr**2 / (ncsnr**2 + 1 / 4), percent, rtol=1e-5)
    config = laion_config(tree.root, {"settings": {"noise_ceiling": "12rep"}})
    write_artifacts(config, "sub06", tmp_path / "data", ("design", "betas"))
    with h5py.File(tmp_path / "data/rois.h5") as file:
        np.testing.assert_allclose(file["ncsnr"][:], ncsnr * np.sqrt(4 / 12), rtol=1e-5)
    config = laion_config(tree.root, {"settings": {"noise_ceiling": "computed"}})
    write_artifacts(config, "sub06", tmp_path / "data", ("design", "betas"))
    with h5py.File(tmp_path / "data/rois.h5") as file:
        assert 1 < np.median(file["ncsnr"][:]) < 3, "the tree has a signal twice as large as its noise"


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        *(("subject", name) for name in ("random_0", "tau", "cluster_k5_0", "ood")),
        *(("shared", name) for name in ("random_0", "tau", "ood")),
    ],
)
def test_splits_are_those_of_the_file(tree, tmp_path, name, pool):
    config = laion_config(tree.root, {"settings": {"split": {"name": name, "pool": pool}}})
    for subject in SUBJECTS:
        ours = subject.replace("-", "")
        path = tree.split("shared" if pool == "shared" else subject, name)
        write_artifacts(config, ours, tmp_path / "data", ("design",))
        variant = json.loads(path.read_text())["variants"][0]
        for split, stimuli in stimulus_table.read(tmp_path / "data/stimuli.tsv").items():
            names = [tree.names[number] for number in stimuli.nsd_id.tolist()]
            assert sorted(names) == sorted(variant[f"{split}_ids"])
            assert config.adapter.n_stimuli(config, ours, split) == len(names)
            trials = [each for session in tree.shown[subject] for each in session]
            for stimulus, rows in zip(names, stimuli.trials, strict=True):
                assert [row for row, each in enumerate(trials) if each == stimulus] == rows.tolist()


def test_the_digest_of_the_split_is_a_setting_of_design(tree, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = laion_config(tree.root)
    settings = config.adapter.job_settings(config, "design", "sub03")
    digest = laion_tables.sha256(tree.split("sub-03", "random_0"))
    assert len(digest) == 64
    assert settings["split_sha256"] == digest
    assert settings["split"]["params"] == {"seed": 42}
    write_artifacts(config, "sub03", tmp_path / "data", ("design",))
    assert digest in caplog.text
    assert "'pool': 'sub-04'" in caplog.text, "the file's own numbering is shown, and the folder is trusted"


def test_a_variant_of_several_is_chosen_by_its_name(tree, tmp_path):
    names = [*OFTEN, *NSD]
    variants = [
        {
            "variant_id": f"fold{n}",
            "train_ids": names[2:] if n else names[:-2],
            "test_ids": names[:2] if n else names[-2:],
        }
        for n in range(2)
    ]
    folder = tmp_path / "splits"
    write_split(folder / "sub-01/mine.json", variants, name="mine", pool="sub-01", params={})
    split = {"folder": str(folder), "name": "mine", "variant": "fold1"}
    config = laion_config(tree.root, {"settings": {"split": split}})
    write_artifacts(config, "sub01", tmp_path / "data", ("design",))
    stimuli = stimulus_table.read(tmp_path / "data/stimuli.tsv")["test"]
    assert {tree.names[number] for number in stimuli.nsd_id.tolist()} == set(names[:2])


def test_sessions_that_are_asked_for(tree, tmp_path):
    config = laion_config(tree.root, {"nsd": {"sessions": [1, 3]}})
    assert laion_fmri.session_numbers(config, "sub01") == [1, 3]
    write_artifacts(config, "sub01", tmp_path / "data", ("design", "betas"))
    n_trials = sum(len(tree.shown["sub-01"][number - 1]) for number in (1, 3))
    trials = np.concatenate(
        [rows for each in stimulus_table.read(tmp_path / "data/stimuli.tsv").values() for rows in each.trials]
    )
    assert trials.max() < n_trials
    assert len(set(trials.tolist())) == len(trials)


@pytest.mark.parametrize("zscore", ["none", "run", "train"])
def test_other_zscores(tree, tmp_path, zscore):
    config = laion_config(tree.root, {"settings": {"zscore": zscore}})
    write_artifacts(config, "sub07", tmp_path / "data", ("design", "betas"))
    betas = hdf5.load(tmp_path / "data/betas_train.h5")
    mask = tree.masks["sub-07"]["laion-general"].copy()
    mask[EDGE] = mask[HOLE] = False
    train = {tree.names[number] for number in betas.nsd_id.tolist()}
    trials = []
    for number, names in enumerate(tree.shown["sub-07"], 1):
        stored = np.asarray(nib.load(tree.betas("sub-07", number)).dataobj)[mask].T.astype(float)
        runs = 3 * np.arange(len(names)) // len(names)
        for run in range(3) if zscore == "run" else [0]:
            here = runs == run if zscore == "run" else np.ones(len(names), bool)
            of = here & np.isin(names, sorted(train)) if zscore == "train" else here
            if zscore != "none":
                stored[here] = (stored[here] - stored[of].mean(0)) / stored[of].std(0)
        trials.append(stored)
    shown = [name for names in tree.shown["sub-07"] for name in names]
    name = tree.names[int(betas.nsd_id[0])]
    expected = np.concatenate(trials)[[row for row, each in enumerate(shown) if each == name]].mean(0)
    np.testing.assert_allclose(betas.values[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "mask",
    [
        ["laion-general"],
        ["laionventral", "laion-dorsal"],
        {"r2mean_above": 30.0},
        {"file": "{root}/own-{label}.nii.gz"},
    ],
)
def test_masks_of_all_kinds(tree, tmp_path, mask):
    of, own = tree.masks["sub-01"], tmp_path / "own-01.nii.gz"
    nib.Nifti1Image(of["EBA"].astype(np.uint8), nib.load(tree.betas("sub-01", 1)).affine).to_filename(own)
    if isinstance(mask, dict) and "file" in mask:
        mask, expected = {"file": str(own).replace("own-01", "own-{label}")}, of["EBA"]
    elif isinstance(mask, dict):
        expected = np.asarray(nib.load(tree.map("sub-01", "stat-rsquare_desc-R2mean")).dataobj) > 30
    else:
        expected = of["laion-general"] if len(mask) == 1 else of["laion-ventral"] | of["laion-dorsal"]
    config = laion_config(tree.root, {"settings": {"mask": mask, "regions": {"V4": ["hV4"]}}})
    write_artifacts(config, "sub01", tmp_path / "data", ("design", "betas"))
    with h5py.File(tmp_path / "data/rois.h5") as file:
        kept = np.zeros(expected.shape, bool)
        kept.ravel()[file["voxel"][:]] = True
    expected = expected.copy()
    expected[EDGE] = expected[HOLE] = False
    np.testing.assert_array_equal(kept, expected)


def test_a_sound_dataset_is_validated_once(tree, tmp_path, monkeypatch):
    config, record = laion_config(tree.root), tmp_path / "sound.txt"
    config.adapter.validate(config, record)
    monkeypatch.setattr(laion_tables, "read_metadata", None)
    config.adapter.validate(config, record)
    os.utime(tree.trials("sub-05", 2), ns=(1, 1))
    with pytest.raises(TypeError):
        config.adapter.validate(config, record)


@pytest.mark.parametrize(
    ("text", "number"), [("sub-03", 3), ("sub03", 3), ("3", 3), ("03", 3), ("3.0", 3), ("p02", None), ("", None)]
)
def test_numbers_of_subjects(text, number):
    assert laion_tables.subject_number(text) == number


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGB", "RGBA"])
def test_images_of_all_modes(mode):
    stream, image = io.BytesIO(), Image.new("RGBA", (4, 4), (10, 10, 10, 255))
    image.convert(mode).save(stream, "PNG")
    assert (laion_images.decode(stream.getvalue(), 127, "an image") == 10).all()


def test_labels_without_hyphens():
    name = "sub-01_space-T1w_res-1pt8_label-laion-general_mask.nii.gz"
    assert laion_fmri.region_of(name) == laion_fmri.region_of(name.replace("n-g", "ng")) == "laiongeneral"


def test_masks_that_no_setting_names_are_no_inputs(tree):
    config = laion_config(tree.root, {"settings": {"mask": ["laiongeneral"], "regions": {"bodies": ["EBA"]}}})
    config.paths.settings["regions"] = {"bodies": ["EBA"]}
    files = laion_fmri.roi_files(config, "sub01")
    assert [path.partition("/rois/sub-01/")[2].partition("/")[0] for path in files] == ["body", "laion", "object"]
    assert len(laion_fmri.all_roi_files(config, "sub01")) > len(files)
