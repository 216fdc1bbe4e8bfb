"""What a receipt notes and how it is compared: content, names and sizes count, dates only where content is not read."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from snakemake.iocontainers import Namedlist

from brain_diffuser.artifacts import hdf5
from brain_diffuser.workflow import receipts, reconcile

DATE = 1_700_000_000_000_000_000


def dated(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(DATE, DATE))
    return path


def is_same(path, files, **options):
    found = {name: rest for name, *rest in receipts.listing(path)}
    return found.keys() == files.keys() and all(receipts.same(*found[name], files[name], **options) for name in files)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file that is sampled: 3,000 bytes, of which 5 times 100 are read."""
    for name, value in (("LARGE", 1000), ("SAMPLES", 5), ("SAMPLE", 100)):
        monkeypatch.setattr(receipts, name, value)
    return dated(tmp_path / "betas.nii.gz", bytes(range(250)) * 12)


def test_a_folder_is_its_files_whatever_folder_and_dates(tmp_path):
    for name in ("a", "b/c"):
        dated(tmp_path / "one" / name, name.encode())
    dated(tmp_path / "one/.snakemake_timestamp", b"")
    dated(tmp_path / "one/.receipts/a.json", b"{}")
    files = receipts.contents(tmp_path / "one")
    assert set(files) == {"a", "b/c"}
    other = shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copy)
    assert receipts.digest(receipts.contents(other)) == receipts.digest(files)
    assert is_same(other, files)
    (other / "b/c").rename(other / "b/d")
    assert receipts.digest(receipts.contents(other)) != receipts.digest(files)
    assert not is_same(other, files)


def test_a_link_is_what_it_leads_to(tmp_path):
    file = dated(tmp_path / "one", b"1")
    (tmp_path / "link").symlink_to(file)
    assert receipts.contents(tmp_path / "link") == receipts.contents(file)
    assert receipts.contents(tmp_path / "nothing") == {}


@pytest.mark.parametrize(
    ("content", "date", "expected"),
    [(b"1", DATE, True), (b"1", DATE + 1, True), (b"2", DATE - 1, False), (b"12", DATE, False)],
)
def test_a_file_is_known_by_its_content(tmp_path, content, date, expected):
    file = dated(tmp_path / "one", b"1")
    files = receipts.contents(file)
    file.write_bytes(content)
    os.utime(file, ns=(date, date))
    assert is_same(file, files) == expected


def test_a_large_file_is_known_by_its_date_and_in_a_copy_by_samples(large):
    files = receipts.contents(large)
    assert files[""][2].startswith("sample:")
    assert is_same(large, files)
    os.utime(large, ns=(DATE - 1, DATE - 1))
    assert not is_same(large, files)
    assert is_same(large, files, trust_dates=False)
    for place in (0, 2999):  # first and last are always among the samples
        content = bytearray(large.read_bytes())
        content[place] ^= 1
        large.write_bytes(content)
        assert not is_same(large, files, trust_dates=False)
        content[place] ^= 1
        large.write_bytes(content)


def test_what_a_job_has_made_is_read_whole(large):
    whole = receipts.contents(large, whole=True)
    content = bytearray(large.read_bytes())
    content[650] ^= 1  # between two samples
    sampled = receipts.contents(large)
    large.write_bytes(content)
    assert receipts.contents(large)[""][2] == sampled[""][2]
    assert receipts.digest(receipts.contents(large, whole=True)) != receipts.digest(whole)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("results/sub01/recon", "results", "<results>/sub01/recon"),
        ("/data/lab/sub01/recon", "/data/lab", "<results>/sub01/recon"),
        ("results_nsd/sub01", "results", "results_nsd/sub01"),
        (".snakemake/storage/s3/lab/brain/results/sub01/a.h5", "results", "<results>/sub01/a.h5"),
        ("data/nsd/x", "results", "data/nsd/x"),
    ],
)
def test_names_do_not_hold_where_results_lie(path, root, expected):
    name = receipts.name_of(path, root, ".snakemake/storage")
    assert name == expected
    if not path.startswith(".snakemake"):
        assert receipts.path_of(name, root) == path


def made(output, files, **changes):
    about = {"rule": "r", "dataset": "toy", "log": "l", "params": [["a", "1"]], "given": [], "inputs": {}}
    return receipts.Receipt(output=output, files=files, **(about | changes))


def test_a_receipt_is_read_as_it_was_written(tmp_path):
    for output in ("<results>/sub01/a.h5", "data/elsewhere.tsv"):
        receipt = made(output, {"": [1, 2, "sha256:0"]})
        receipts.write(receipt, tmp_path)
        assert receipts.read(receipts.place(output, tmp_path)) == receipt
    assert len(list(tmp_path.rglob("*.json"))) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"output": 1}', "\ufffd"])
def test_a_damaged_receipt_is_none(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert receipts.read(path) is None


def test_an_input_is_noted_by_its_receipt_unless_it_is_another_file(tmp_path):
    path = tmp_path / "sub01/a.h5"
    hdf5.save(path, np.zeros((2, 3)), np.arange(2))
    assert "files" in receipts.note(str(path), receipts.name_of(path, tmp_path), tmp_path)
    receipt = made("<results>/sub01/a.h5", receipts.contents(path, whole=True))
    receipts.write(receipt, tmp_path)
    assert receipts.note(str(path), receipts.name_of(path, tmp_path), tmp_path) == {"digest": receipt.digest}
    hdf5.save(path, np.zeros((3, 3)), np.arange(3))
    assert "files" in receipts.note(str(path), receipts.name_of(path, tmp_path), tmp_path)


def test_a_receipt_inside_a_shard_counts_before_the_one_beside_it(tmp_path):
    """As where a cache brings another shard of the same size."""
    path = tmp_path / "sub01/shards/features/00000-00002.h5"
    name = "<results>/sub01/shards/features/00000-00002.h5"
    first, second = (made(name, {}, params=[["a", value]]) for value in "12")
    hdf5.save(path, np.full((2, 3), 1), np.arange(2))
    receipts.finish(receipts.Begun(str(tmp_path), first, {name: str(path)}), embed=True)
    place = receipts.place(name, tmp_path)
    old = place.read_bytes()
    hdf5.save(path, np.full((2, 3), 2), np.arange(2))
    receipts.finish(receipts.Begun(str(tmp_path), second, {name: str(path)}), embed=True)
    new = place.read_bytes()
    assert new != old
    place.write_bytes(old)
    noted = receipts.note(str(path), name, tmp_path)
    assert place.read_bytes() == new
    found = receipts.read(place)
    assert found
    assert noted == {"digest": found.digest}
    assert found.values == ["2"]


def test_the_key_of_all_inputs_follows_their_content_alone(tmp_path, monkeypatch):
    """It tells a training whether what it left when it was killed was learned from the same data."""
    monkeypatch.chdir(tmp_path)
    betas = dated(tmp_path / "betas.h5", b"1")
    job = SimpleNamespace(
        rule="learned_train",
        config={"dataset": "toy"},
        params=Namedlist(fromdict={"seed": 0}),
        input=["betas.h5"],
        output=["results/sub01/learned/vdvae/weights.safetensors"],
        log=["results/sub01/logs/learned_train.log"],
    )

    def key():
        return receipts.begin(job, str).inputs_digest

    first = key()
    betas.touch()
    assert key() == first
    dated(betas, b"2")
    assert key() != first


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder with one artifact, a folder of two images, and the receipt of it."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        dated(tmp_path / f"results/sub01/recon/{name}.png", name.encode())
    files = receipts.contents("results/sub01/recon", whole=True)
    receipts.write(made("<results>/sub01/recon", files, log="<results>/sub01/logs/recon.log"), "results")
    return tmp_path / "results"


def reasons():
    """Why artifacts would be made again, after what every start does."""
    found = reconcile.Results("results")
    found.agree()
    return {name: found.record(name)["params"] for name in found.by_name}


def test_a_receipt_in_a_copy_of_its_folder_says_nothing(results):
    shutil.copytree(results / "sub01", results / "sub01_old")
    (results / "sub01_old/recon/a.png").unlink()
    assert reasons() == {"<results>/sub01/recon": ["1"]}


def test_a_hidden_file_alters_nothing_and_an_image_does(results):
    for name in (".DS_Store", "Thumbs.db"):
        (results / "sub01/recon" / name).touch()
    assert reasons() == {"<results>/sub01/recon": ["1"]}
    (results / "sub01/recon/b.png").unlink()
    assert reasons() == {"<results>/sub01/recon": ["altered since it was made"]}


def test_a_subject_that_lies_on_another_disk_is_known(results):
    (results / "sub01").rename(results.parent / "disk")
    (results / "sub01").symlink_to(results.parent / "disk")
    assert reasons() == {"<results>/sub01/recon": ["1"]}


@pytest.mark.parametrize("length", [60, 120, 170, 182, 189, 191, 220])
def test_a_record_may_have_a_name_of_any_length(results, length):
    name = "<results>/sub01/" + "v" * (length - len("results/sub01/"))
    receipts.write(made(name, {"": [0, 0, "sha256:0"]}), "results")
    assert reasons()[name] == ["1"]


@pytest.mark.parametrize("name", ["captions.json", "betas.h5", "lesions"])
def test_a_job_reads_no_artifact_that_a_disk_has_damaged(tmp_path, name):
    """Its date is that of its receipt, its content is not; by its date, no run would make it again."""
    path = tmp_path / "results/sub01" / name
    file = dated(path / "lesions.csv" if name == "lesions" else path, b"0123456789" * 9)
    artifact, root = f"<results>/sub01/{name}", tmp_path / "results"
    receipts.write(made(artifact, receipts.contents(path, whole=True)), root)
    receipts.check_unaltered(str(path), artifact, root)
    for content in (b"0123456789" * 8 + b"012345678 ", b"0123", b""):
        dated(file, content)
        with pytest.raises(
            ValueError, match=rf"{file.name} is not what was written, although its date says so.*--force"
        ):
            receipts.check_unaltered(str(path), artifact, root)
    os.utime(file)
    receipts.check_unaltered(str(path), artifact, root)  # its date tells the next run
    receipts.check_unaltered(str(path), "<results>/sub01/other", root)


def test_large_artifacts_with_checksums_are_not_read_twice(large, tmp_path):
    for name in ("features.h5", "decoder.safetensors"):
        path = dated(tmp_path / name, large.read_bytes())
        receipts.write(made(f"<results>/{name}", receipts.contents(path, whole=True)), tmp_path)
        dated(path, bytes(3000))
    receipts.check_unaltered(str(tmp_path / "features.h5"), "<results>/features.h5", tmp_path)
    with pytest.raises(ValueError, match=r"decoder.safetensors is not what was written"):
        receipts.check_unaltered(str(path), "<results>/decoder.safetensors", tmp_path)
