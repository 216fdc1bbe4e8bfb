"""Closed-form means, a naive reader, the order of first presentation, and every way the files can be wrong."""

import csv
import json

import h5py
import nibabel as nib
import numpy as np
import pytest
from nsd_tree import AFFINE, toy_ids, write_session, write_tree
from scipy.io import savemat

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import averages, nifti, nsd_design, nsd_sessions, stimulus_table
from brain_diffuser.data.captions import read_captions, write_captions


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", sessions=2)


@pytest.fixture
def splits(tree):
    return nsd_design.split_stimuli(*nsd_design.read_design(tree.expdesign, 1, [1, 2]))


@pytest.fixture
def mask(tree):
    return nifti.read_mask(tree.nsdgeneral)


def averaged(tree, splits, mask, file_format="auto"):
    return nsd_sessions.average_betas(nsd_sessions.find(tree.betas, "all", file_format), mask, splits)[0]


def naive_means(tree, n_sessions):
    """What the stage should give, by loops over whole volumes in float64, keyed by split and in order of appearance."""
    stored = np.concatenate([nib.load(tree.session(n + 1)).get_fdata()[tree.mask].T for n in range(n_sessions)])
    means = {}
    for split in ("train", "test"):
        trials = {}
        for trial, (nsd_id, rank) in enumerate(zip(tree.nsd_id.tolist(), tree.rank.tolist(), strict=True)):
            if (rank <= 1000) == (split == "test"):
                trials.setdefault(nsd_id, []).append(trial)
        means[split] = list(trials), np.array([stored[each].sum(0) / (300 * len(each)) for each in trials.values()])
    return means


def test_design_gives_0_based_ids(tree):
    nsd_id, rank = nsd_design.read_design(tree.expdesign, 1, [1, 2])
    assert np.array_equal(nsd_id, tree.nsd_id)
    assert np.array_equal(rank, tree.rank)
    assert set(nsd_id.tolist()) == set(toy_ids())
    other, _ = nsd_design.read_design(tree.expdesign, 7, [1])
    assert np.array_equal(other == tree.nsd_id[:750], tree.rank[:750] <= 1000)  # only the shared images are common


def test_sessions_may_be_left_out(tree):
    """The trials of the sessions that are read are numbered through."""
    both, alone = (nsd_design.read_design(tree.expdesign, 1, numbers) for numbers in ([1, 2], [2]))
    for whole, second in zip(both, alone, strict=True):
        np.testing.assert_array_equal(second, whole[750:])


def test_split_by_hand():
    nsd_id = np.array([50, 3, 9, 50, 70, 9, 3, 50], np.int32)
    rank = np.array([1001, 1000, 4000, 1001, 1, 4000, 1000, 1001], np.int32)
    splits = nsd_design.split_stimuli(nsd_id, rank)
    assert splits["train"].nsd_id.tolist() == [50, 9]
    assert [trials.tolist() for trials in splits["train"].trials] == [[0, 3, 7], [2, 5]]
    assert splits["test"].nsd_id.tolist() == [3, 70]
    assert [trials.tolist() for trials in splits["test"].trials] == [[1, 6], [4]]


@pytest.mark.parametrize(
    ("ranks", "found"),
    [
        ([7, 8, 9], "0 train stimuli"),
        ([1001, 1002, 1003], "0 test stimuli"),
        ([7, 1001, 1002], "1 test stimulus"),
        ([7, 8, 1001], "1 train stimulus"),
    ],
)
def test_a_split_of_too_few_stimuli(ranks, found):
    message = f"the 3 trials of the sessions that are read show {found}; expected at least 2, .* Add sessions"
    with pytest.raises(ValueError, match=message):
        nsd_design.split_stimuli(np.arange(3, dtype=np.int32), np.array(ranks, np.int32))


def test_two_stimuli_of_each_split_are_enough():
    splits = nsd_design.split_stimuli(np.arange(4, dtype=np.int32), np.array([7, 8, 1001, 1002], np.int32))
    assert {split: len(stimuli.nsd_id) for split, stimuli in splits.items()} == {"train": 2, "test": 2}


def test_no_dataset_writes_a_table_with_one_test_stimulus(tmp_path):
    """Every adapter writes this table, one that is not among ours too."""
    of = {n: stimulus_table.Stimuli(np.arange(n, dtype=np.int32), (np.array([0]),) * n) for n in (0, 1, 2)}
    for n, words in ((0, "0 test stimuli"), (1, "1 test stimulus")):
        with pytest.raises(ValueError, match=rf"stimuli.tsv: the dataset has {words}; expected at least 2"):
            stimulus_table.write(tmp_path / "stimuli.tsv", {"train": of[2], "test": of[n]})
        assert not (tmp_path / "stimuli.tsv").exists()
    stimulus_table.write(tmp_path / "stimuli.tsv", {"train": of[2], "test": of[2]})


def test_stimuli_table(tmp_path, splits):
    stimulus_table.write(tmp_path / "stimuli.tsv", splits)
    with open(tmp_path / "stimuli.tsv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["split"] for row in rows] == ["train"] * 16 + ["test"] * 8
    for split, stimuli in splits.items():
        mine = [row for row in rows if row["split"] == split]
        assert [int(row["nsd_id"]) for row in mine] == stimuli.nsd_id.tolist()
        assert [list(map(int, row["trials"].split(","))) for row in mine] == [each.tolist() for each in stimuli.trials]
        assert all(int(row["n_repeats"]) == row["trials"].count(",") + 1 for row in mine)
    assert sorted(int(trial) for row in rows for trial in row["trials"].split(",")) == list(range(1500))


@pytest.mark.parametrize("file_format", ["hdf5", "nifti"])
def test_betas_equal_those_of_a_naive_reader(tree, splits, mask, file_format):
    betas = averaged(tree, splits, mask, file_format)
    for split, (nsd_id, means) in naive_means(tree, 2).items():
        assert betas[split].values.dtype == np.float32
        assert betas[split].nsd_id.tolist() == nsd_id
        assert np.array_equal(betas[split].values, means.astype(np.float32))


def test_a_beta_is_the_mean_of_its_trials_over_300(tmp_path):
    def trial_numbers(number, shown):
        trials = 750 * (number - 1) + np.arange(750, dtype=np.int16)
        return trials + np.arange(12, dtype=np.int16).reshape(3, 2, 2, 1)

    tree = write_tree(tmp_path, sessions=2, shape=(3, 2, 2), betas=trial_numbers)
    splits = nsd_design.split_stimuli(*nsd_design.read_design(tree.expdesign, 1, [1, 2]))
    betas = averaged(tree, splits, nifti.read_mask(tree.nsdgeneral))
    for split, stimuli in splits.items():
        voxel = np.arange(12).reshape(3, 2, 2)[tree.mask]
        expected = np.array([(trials.mean() + voxel) / 300 for trials in stimuli.trials])
        np.testing.assert_allclose(betas[split].values, expected, rtol=1e-6)


def test_float_sessions_and_mixed_ones(tree, splits, mask):
    whole = averaged(tree, splits, mask)
    volume = np.asarray(nib.load(tree.session(2)).dataobj).astype(np.float32)
    write_session(tree, 2, volume)
    for file_format in ("hdf5", "nifti"):
        mixed = averaged(tree, splits, mask, file_format)
        for split in splits:
            assert np.array_equal(mixed[split].values, whole[split].values)


def test_betas_survive_a_round_trip(tmp_path, tree, splits, mask):
    betas = averaged(tree, splits, mask)["test"]
    hdf5.save(tmp_path / "betas_test.h5", betas.values, betas.nsd_id, axes=("voxels",), unit="percent signal change")
    rows = hdf5.load(tmp_path / "betas_test.h5")
    assert np.array_equal(rows.values, betas.values)
    assert np.array_equal(rows.nsd_id, splits["test"].nsd_id)


def test_varying_voxels_are_all_kept(tree, splits, mask):
    betas = averaged(tree, splits, mask)
    settled, same_mask = averages.handle_constant_voxels(betas, mask, "error")
    assert same_mask is mask
    assert all(settled[split] is betas[split] for split in splits)


def test_constant_voxels_are_named_or_dropped_everywhere(tree, splits, mask):
    places = np.argwhere(mask.selected)[[4, 9]]
    volume = np.asarray(nib.load(tree.session(1)).dataobj).copy()
    for number in (1, 2):
        volume[tuple(places.T)] = 0
        write_session(tree, number, volume)
    betas = averaged(tree, splits, mask)
    n_voxels = int(mask.selected.sum())
    first = ", ".join(map(str, places[0]))
    message = (
        rf"nsdgeneral.nii.gz selects 2 of {n_voxels} voxels whose betas are constant over 16 train stimuli; "
        rf"the first is column 4, voxel \({first}\). Set nsd.constant_voxels: drop"
    )
    with pytest.raises(ValueError, match=message):
        averages.handle_constant_voxels(betas, mask, "error")
    settled, smaller = averages.handle_constant_voxels(betas, mask, "drop")
    for split in splits:
        assert np.array_equal(settled[split].values, np.delete(betas[split].values, [4, 9], axis=1))
        assert np.array_equal(settled[split].nsd_id, betas[split].nsd_id)
    faces = tree.rois / "floc-faces.nii.gz"
    whole, fewer = (nifti.read_labels([faces], each)["floc-faces"] for each in (mask, smaller))
    assert np.array_equal(fewer, np.delete(whole, [4, 9]))
    assert mask.selected.sum() == n_voxels
    flat = {split: rows._replace(values=np.zeros_like(rows.values)) for split, rows in betas.items()}
    with pytest.raises(ValueError, match=rf"selects {n_voxels} of {n_voxels} voxels whose betas are constant"):
        averages.handle_constant_voxels(flat, mask, "drop")
    with pytest.raises(ValueError, match=r'nsd.constant_voxels must be "error" or "drop", got \'keep\''):
        averages.handle_constant_voxels(betas, mask, "keep")


def test_mask_is_where_the_volume_is_above_0(tree, mask):
    assert np.array_equal(mask.selected, tree.mask)
    assert np.allclose(mask.affine, AFFINE)


def test_masks_that_cannot_be_used(tmp_path):
    path = tmp_path / "nsdgeneral.nii.gz"
    with pytest.raises(FileNotFoundError, match=r"nsdgeneral.nii.gz is missing"):
        nifti.read_mask(path)
    path.write_bytes(b"no volume")
    with pytest.raises(ValueError, match=r"nsdgeneral.nii.gz cannot be read as NIfTI"):
        nifti.read_mask(path)
    nib.Nifti1Image(np.full((3, 3, 3), -1, np.int16), AFFINE).to_filename(path)
    with pytest.raises(
        ValueError, match=r"nsdgeneral.nii.gz selects 0 voxels; expected about 15,000 .* func1pt8mm mask"
    ):
        nifti.read_mask(path)
    nib.Nifti1Image(np.ones((3, 3, 3, 2), np.int16), AFFINE).to_filename(path)
    with pytest.raises(ValueError, match=r"nsdgeneral.nii.gz has shape \(3, 3, 3, 2\); expected a volume"):
        nifti.read_mask(path)


def test_another_subjects_mask(tmp_path, tree, splits):
    other = write_tree(tmp_path / "other", subject=2, shape=(5, 6, 4))
    with pytest.raises(ValueError, match=r"betas_session01.hdf5 has volumes of \(6, 5, 4\), .*subj02.*\(5, 6, 4\)"):
        averaged(tree, splits, nifti.read_mask(other.nsdgeneral))
    with pytest.raises(
        ValueError, match=r"floc-faces.nii.gz has volumes of \(6, 5, 4\), .*subj02.* \(5, 6, 4\); expected one"
    ):
        nifti.read_labels([tree.rois / "floc-faces.nii.gz"], nifti.read_mask(other.nsdgeneral))


def test_designs_that_cannot_be_used(tmp_path, tree):
    path = tmp_path / "nsd_expdesign.mat"

    def refused(message, error=ValueError, subject=1, session_numbers=(1,)):
        with pytest.raises(error, match=message):
            nsd_design.read_design(path, subject, session_numbers)

    refused("nsd_expdesign.mat is missing", FileNotFoundError)
    path.write_text("<Error>AccessDenied</Error>" * 20)
    refused(r"nsd_expdesign.mat cannot be read as a MAT file \(.*\). Download it again.")
    path.write_bytes(tree.expdesign.read_bytes()[:3000])
    refused(r"nsd_expdesign.mat cannot be read as a MAT file")
    ordering, images = np.ones((1, 30000), np.int32), np.ones((8, 10000), np.int32)
    savemat(path, {"subjectim": images})
    refused(r"masterordering is missing; expected \(1, 30000\). Is this nsd_expdesign.mat\?")
    savemat(path, {"masterordering": ordering, "subjectim": images.T})
    refused(r"subjectim has shape \(10000, 8\); expected \(8, 10000\)")
    savemat(path, {"masterordering": ordering * 0, "subjectim": images})
    refused("masterordering has values 0 to 0; expected 1 to 10000")
    savemat(path, {"masterordering": ordering, "subjectim": images})
    refused("has subjects 1 to 8, got subject 9", subject=9)
    refused("has 30000 trials; session 41 would need 30750", session_numbers=(40, 41))


def test_stimuli_are_copied_row_by_row(tmp_path):
    ids = toy_ids(n_train=3, n_test=2)
    images = {each: np.full((425, 425, 3), row, np.uint8) for row, each in enumerate(ids)}
    for image in images.values():
        image[0, 0, 0] = 9
    tree = write_tree(tmp_path / "tree", n_train=3, n_test=2, images=images)
    nsd_design.copy_stimuli(tree.stimulus_file, tmp_path / "stimuli.h5", np.array(ids, np.int32))
    rows = hdf5.load(tmp_path / "stimuli.h5")
    assert rows.values.shape == (5, 425, 425, 3)
    assert rows.values.dtype == np.uint8
    assert rows.nsd_id.tolist() == ids
    assert [np.unique(image).tolist() for image in rows.values] == [[row, 9] for row in range(5)]


def test_stimulus_files_that_lack_an_image(tmp_path, splits):
    out, stimulus_file, ids = tmp_path / "stimuli.h5", tmp_path / "nsd_stimuli.hdf5", np.array([3, 9], np.int32)
    hdf5.save(out, np.zeros((1, 2)), ids[:1])

    def refused(message, error=ValueError):
        with pytest.raises(error, match=message):
            nsd_design.copy_stimuli(stimulus_file, out, ids)
        assert hdf5.load(out).values.shape == (1, 2)  # the earlier artifact stays
        assert len([path for path in tmp_path.iterdir() if path.name.startswith("stimuli.h5")]) == 1

    def write(name, shape, dtype, **storage):
        with h5py.File(stimulus_file, "w") as file:
            file.create_dataset(name, shape, dtype, **storage)
            return file[name]

    refused("nsd_stimuli.hdf5 is missing", FileNotFoundError)
    stimulus_file.write_bytes(b"not hdf5")
    refused("nsd_stimuli.hdf5 cannot be read as HDF5")
    write("images", (10, 8, 8, 3), "u1")
    refused(r"imgBrick is no such dataset; expected uint8 \(73000, 425, 425, 3\). Download nsd_stimuli.hdf5 again.")
    write("imgBrick", (10, 3, 8, 8), "u1")
    refused(r"imgBrick is uint8 \(10, 3, 8, 8\); expected uint8")
    write("imgBrick", (10, 8, 8, 3), "f4")
    refused(r"imgBrick is float32 \(10, 8, 8, 3\); expected uint8")
    write("imgBrick", (9, 8, 8, 3), "u1", data=np.resize(np.arange(9, dtype=np.uint8), (9, 8, 8, 3)))
    refused(r"imgBrick is uint8 \(9, 8, 8, 3\) and lacks the image of nsd_id 9")
    write("imgBrick", (10, 8, 8, 3), "u1", chunks=(1, 8, 8, 3))  # never filled
    refused("lacks the image of nsd_id 3")
    with h5py.File(stimulus_file, "w") as file:
        images = file.create_dataset("imgBrick", (10, 8, 8, 3), "u1", chunks=(1, 8, 8, 3), compression="gzip")
        images[...] = np.random.default_rng(0).integers(0, 256, images.shape)
        place = images.id.get_chunk_info_by_coord((3, 0, 0, 0)).byte_offset
    with open(stimulus_file, "r+b") as stream:
        stream.seek(place)
        stream.write(bytes(50))
    refused("imgBrick row 3 cannot be read")


@pytest.mark.parametrize("captions_format", ["json", "csv", "npy"])
def test_captions_of_each_format(tmp_path, captions_format):
    ids = toy_ids(n_train=3, n_test=2)
    written = {each: [f" an image, {each} ", "", "ein Bär"] for each in ids}
    tree = write_tree(tmp_path, n_train=3, n_test=2, captions=written, captions_format=captions_format)
    captions = read_captions(tree.captions, np.array(ids[::-1], np.int32))
    assert captions == {each: [f"an image, {each}", "ein Bär"] for each in ids}
    assert list(captions) == ids[::-1]
    write_captions(tmp_path / "captions.json", captions)
    assert json.loads((tmp_path / "captions.json").read_text("utf-8")) == {str(each): captions[each] for each in ids}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("breaks", ["\u2028", "\x85", "\x0b"])
def test_captions_in_utf_8_with_a_mark_and_odd_letters(tmp_path, mark, breaks):
    (tmp_path / "c.csv").write_bytes(mark + f'nsd_id,caption\r\n3,"a dog,{breaks}a cat"\r\n'.encode())
    (tmp_path / "c.json").write_bytes(mark + json.dumps({"3": [f"a dog,{breaks}a cat"]}, ensure_ascii=False).encode())
    for name in ("c.csv", "c.json"):
        assert read_captions(tmp_path / name, np.array([3], np.int32)) == {3: [f"a dog,{breaks}a cat"]}


def test_captions_that_cannot_be_used(tmp_path):
    def refused(name, content, message, error=ValueError):
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(error, match=message):
            read_captions(path, np.array([3], np.int32))

    refused("c.json", None, r"c.json is missing; expected the captions", FileNotFoundError)
    refused("c.txt", b"", r"c.txt ends in '.txt'; expected captions in .npy, .json, .csv.")
    refused(
        "c.json", b'{"3": ["a"]', r"c.json is no JSON from line 1 column 12 on \(Expecting ',' delimiter\); it may be"
    )
    refused("c.json", b'{"3": "a"}', r"c.json: captions of nsd_id 3 are a text \('a'\); expected a list of texts")
    refused("c.json", b'[["a"]]', r"c.json has a list .*; expected captions as {\"nsd_id\": \[\"caption\"\]}")
    refused("c.json", b'{"a": ["b"]}', r"c.json has key 'a'; expected a nsd_id, a whole number from 0")
    refused(
        "c.json", b'{"3": ["a", {"image_id": 5}]}', r"c.json: caption 2 of nsd_id 3 is an object \({'image_id': 5}\)"
    )
    refused("c.json", b'{"3": ["a"], "5": [null]}', r"c.json: caption 1 of nsd_id 5 is null; expected a text")
    refused("c.json", b'{"3": ["B\xe4r"]}', r"c.json line 1 has byte 0xe4, which is not UTF-8; save it as UTF-8")
    refused("c.json", b'{"4": ["a"]}', r"c.json has captions of 1 images and lacks nsd_id 3. Add it.")
    refused("c.json", b'{"3": ["", " "]}', r"c.json: all captions of nsd_id 3 are empty; expected at least 1.")
    refused("c.csv", b"id,text\n3,a\n", r"c.csv has columns \['id', 'text'\]; expected \['nsd_id', 'caption'\]")
    refused("c.csv", b"nsd_id,caption\n3,a,b\n", r"c.csv line 2 has 3 cells, its first line 2; expected as many")
    refused("c.csv", b"nsd_id,caption\nx,a\n", r"c.csv line 2 has nsd_id 'x'; expected a whole number from 0")
    refused("c.csv", b"nsd_id,caption\n" + b"9" * 5000 + b",a\n", r"c.csv line 2 has nsd_id '9+'; expected a whole")
    refused("c.csv", b"nsd_id,caption\n3,a B\xe4r\n", r"c.csv line 2 has byte 0xe4, which is not UTF-8; save it")
    refused("c.csv", b'nsd_id,caption\n3,"a dog\n4,a cat\n', r"c.csv line 3 cannot be read as a table \(unexpected end")
    refused("c.csv", b"nsd_id,caption\n3,None\n", r"c.csv: caption 1 of nsd_id 3 is 'None', which programs write")
    refused("c.csv", b"nsd_id,caption\n5,a\n", r"c.csv has captions of 1 images and lacks nsd_id 3")
    refused("c.npy", b"x", r"c.npy cannot be read as an array of texts")
    refused("c.npy", np.full((100, 5), "a"), r"c.npy is <U1 \(100, 5\); expected texts, 73000 rows by captions")
    refused("c.npy", np.zeros((73000, 5), np.uint8), r"c.npy is uint8 \(73000, 5\); expected texts")
    refused("c.npy", np.full((73000, 1), ""), r"c.npy: all captions of nsd_id 3 are empty")
    refused("c.npy", np.full((73000, 1), "nan"), r"c.npy: caption 1 of nsd_id 3 is 'nan', which programs write")
    refused("c.npy", np.full((73000, 1), 2**21, np.uint32).view("<U1"), r"c.npy: a caption of nsd_id 3 is no text")
    whole = (tmp_path / "c.npy").read_bytes()
    refused(
        "c.npy", b"/annex/objects/MD5E-s1--a.npy", r"c.npy is a pointer of git-annex, not the file itself; fetch it"
    )
    refused("c.npy", b"<html>Sign in</html>", r"c.npy is a web page, such as that of a login")
    refused("c.npy", whole[:5000], r"c.npy cannot be read as an array of texts")
    np.save(tmp_path / "o.npy", np.array([["a", None]]), allow_pickle=True)
    refused("o.npy", None, r"o.npy cannot be read as an array of texts")


def test_rois_have_the_columns_of_betas(tmp_path, tree, mask):
    labels = nifti.read_labels([tree.rois / f"{atlas}.nii.gz" for atlas in ("prf-visualrois", "floc-words")], mask)
    for atlas, found in labels.items():
        volume = nib.load(tree.rois / f"{atlas}.nii.gz").get_fdata()
        assert found.dtype == np.int16
        assert found.tolist() == [volume[x, y, z] for x, y, z in np.argwhere(tree.mask)]
    nifti.write_rois(tmp_path / "rois.h5", labels, mask, np.ones(int(mask.selected.sum()), np.float32))
    with h5py.File(tmp_path / "rois.h5") as file:
        assert np.array_equal(file["floc-words/labels"][...], labels["floc-words"])
        assert np.array_equal(np.unravel_index(file["voxel"][...], file["shape"][...]), np.nonzero(tree.mask))
        assert np.allclose(file["affine"][...], AFFINE)


def test_rois_that_cannot_be_used(tree, mask):
    with pytest.raises(FileNotFoundError, match=r"Kastner2015.nii.gz is missing"):
        nifti.read_labels([tree.rois / "Kastner2015.nii.gz"], mask)
    nib.Nifti1Image(np.full(mask.selected.shape, 1.5), AFFINE).to_filename(tree.rois / "Kastner2015.nii.gz")
    with pytest.raises(ValueError, match=r"Kastner2015.nii.gz has labels that are not whole, such as 1.5"):
        nifti.read_labels([tree.rois / "Kastner2015.nii.gz"], mask)


def test_ncsnr_is_that_of_the_forward_model(tmp_path):
    """Four voxels with known signal and noise; a plain computation over repeats agrees."""
    rng = np.random.default_rng(1)
    signal, noise = np.array([0.0, 100, 200, 400]), np.array([200.0, 200, 200, 200])
    response = rng.normal(size=(80_000, 4)) * signal

    def betas(_, nsd_id):
        volume = np.zeros((2, 2, 1, len(nsd_id)))
        volume[...] = (response[nsd_id] + rng.normal(size=(len(nsd_id), 4)) * noise).T.reshape(2, 2, 1, -1)
        return volume.round().astype(np.int16)

    tree = write_tree(tmp_path / "t", sessions=4, shape=(2, 2, 1), n_train=600, n_test=400, betas=betas)
    mask = nifti.Mask(tree.nsdgeneral, np.ones((2, 2, 1), bool), AFFINE)
    splits = nsd_design.split_stimuli(*nsd_design.read_design(tree.expdesign, 1, [1, 2, 3, 4]))
    _, ncsnr, _ = nsd_sessions.average_betas(nsd_sessions.find(tree.betas, "all", "nifti"), mask, splits)
    np.testing.assert_allclose(ncsnr, signal / noise, atol=0.12)
    np.testing.assert_allclose(averages.noise_ceiling(np.array([0, 1], np.float32), 3.0), [0, 0.75])


def test_ceiling_of_the_test_stimuli(tmp_path):
    """Their repeats count, those of training stimuli do not."""
    trials = tuple(np.arange(n) for n in (3, 2, 1))
    splits = {
        "train": stimulus_table.Stimuli(np.array([7], np.int32), trials[2:]),
        "test": stimulus_table.Stimuli(np.arange(2), trials[:2]),
    }
    stimulus_table.write(tmp_path / "stimuli.tsv", splits)
    mask = nifti.Mask(tmp_path / "m", np.ones((1, 1, 2), bool), AFFINE)
    nifti.write_rois(tmp_path / "rois.h5", {}, mask, np.array([0, 2], np.float32))
    ceiling, repeats = averages.ceiling_of_test(tmp_path / "rois.h5", tmp_path / "stimuli.tsv")
    assert repeats == 2.5
    np.testing.assert_allclose(ceiling, [0, 4 / (4 + 1 / 2.5)], rtol=1e-6)


def test_ncsnr_without_repeats_is_unknown():
    sums = np.array([[1.0, 2], [3, 5]])
    assert np.isnan(averages._signal_to_noise(sums, np.square(sums).sum(0), np.array([1, 1]))).all()


@pytest.mark.parametrize("bad", [np.inf, 1e39])
def test_a_mean_that_is_not_finite_names_its_stimulus(bad):
    """Whatever the dataset: 1e39 is finite in the float64 of a file, and not in float32. NaN was not measured."""
    splits = {
        split: stimulus_table.Stimuli(np.array(ids, np.int32), tuple(np.array([trial]) for trial in trials))
        for split, ids, trials in (("train", [50, 9], (0, 1)), ("test", [3, 70], (2, 3)))
    }
    betas = np.random.default_rng(0).normal(size=(4, 5))
    betas[3, 2] = bad
    with pytest.raises(ValueError, match=r"betas, nsd_id 70: inf in the mean over a stimulus' trials"):
        averages.average_trials([betas], 4, 5, splits)


def test_without_repeats_of_real_numbers_nothing_is_known_of_the_noise():
    """Rounding residues over 0 were no ceiling of 0 %."""
    sums = np.random.default_rng(0).normal(size=(50, 200)).astype(np.float32)
    ncsnr = averages._signal_to_noise(sums, np.square(sums.T, dtype=np.float64).sum(1), np.ones(50, int))
    assert np.isnan(ncsnr).all()
    assert np.isnan(averages.noise_ceiling(ncsnr, 1.0)).all()


def test_without_noise_all_of_the_variance_can_be_explained():
    ceiling = averages.noise_ceiling(np.array([np.inf, 0, np.nan], np.float32), 3.0)
    np.testing.assert_array_equal(ceiling, np.array([1, 0, np.nan], np.float32))
    assert ceiling.dtype == np.float32


@pytest.mark.parametrize("affine", [np.diag([np.nan, 1, 1, 1]), np.diag([1.8, 0, 1.8, 1])])
def test_a_mask_whose_voxels_have_no_place_is_refused(tmp_path, affine):
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.int16), AFFINE)
    image.header.set_sform(affine, 1)
    (tmp_path / "mask.nii").write_bytes(image.header.binaryblock + bytes(4) + image.dataobj.tobytes())
    with pytest.raises(
        ValueError, match=r"mask\.nii has the affine .*, which gives voxels no place\. Download it again"
    ):
        nifti.read_mask(tmp_path / "mask.nii")
