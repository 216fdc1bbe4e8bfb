"""Receipts, Snakemake's records, tables and logs that are damaged or may not be read: one sentence, or made again."""

import json
import os
import random
import re
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from toy_workflow import ROOT, interpreter

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.decoding import network
from brain_diffuser.workflow import dataset_record, receipts, reconcile, resource_usage, verify, watch

pytestmark = pytest.mark.long

NOTE = {"digest": "0" * 32}
FILES = {"": [3, 5, "sha256:1"]}


def receipt(output="<results>/sub01/ridge/a.h5", **changes):
    about = {
        "rule": "ridge",
        "dataset": "toy",
        "log": "<results>/sub01/logs/ridge.log",
        "params": [["cfg", "{}"]],
        "given": ["betas.h5"],
        "inputs": {"betas.h5": {"files": FILES}},
        "files": FILES,
    }
    return receipts.Receipt(output=output, **(about | changes))


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("results/sub01/ridge/a.h5")
    hdf5.save(path, np.zeros((2, 3)), np.arange(2))
    Path("betas.h5").write_text("abc")
    receipts.write(
        receipt(files=receipts.contents(path), inputs={"betas.h5": {"files": receipts.contents("betas.h5")}}), "results"
    )
    return path


def damaged(content, n):
    """Texts that are near to a sound one, and some that are far from it."""
    generator = random.Random(0)
    yield from (
        b"",
        b"null",
        b"[]",
        b"3",
        b'"a"',
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b"NaN",
        b"\0" * 50,
    )
    for number in range(n):
        place = generator.randrange(len(content))
        if number % 3 == 0:
            yield content[:place]
        elif number % 3 == 1:
            yield content[:place] + bytes([generator.randrange(256)]) + content[place + 1 :]
        else:
            end = min(len(content), place + generator.randrange(1, 40))
            yield content[:place] + content[end:]


WRONG = (
    None,
    3,
    "a",
    [],
    {},
    [[]],
    [3],
    {"a": 3},
    {"a": {}},
    {"a": {"files": 3}},
    {"a": {"files": {"": [1, 2]}}},
    True,
)


def test_damaged_receipts_count_as_none(results):
    place = receipts.place("<results>/sub01/ridge/a.h5", "results")
    content, sound = place.read_bytes(), receipts.read(place)
    about, read = json.loads(content), 0
    of_wrong_types = (
        json.dumps(about | {key: wrong}).encode() for key in about for wrong in WRONG if wrong != about[key]
    )
    for text in (*damaged(content, 400), *of_wrong_types):
        place.write_bytes(text)
        found = reconcile.Results("results").by_name
        read += bool(found)
        for name, each in found.items():
            assert isinstance(each.digest, str)
            assert isinstance(each.values, list)
            reconcile.Results("results").why_not(each, None)
            assert name == each.output
        verify.main(["results"])
    place.write_bytes(content)
    assert receipts.read(place) == sound
    assert read < 500  # changed texts inside of values make another, sound receipt


def test_damaged_records_count_as_none(results, monkeypatch):
    monkeypatch.setattr(reconcile, "METADATA", "metadata")
    found = reconcile.Results("results")
    found.agree()
    (place,) = (path for path in Path("metadata").rglob("*") if path.is_file())
    content = place.read_bytes()
    assert found.record("<results>/sub01/ridge/a.h5") == json.loads(content)
    about = json.loads(content)
    of_wrong_types = (json.dumps(about | {key: wrong}).encode() for key in about for wrong in WRONG)
    for text in (*damaged(content, 200), *of_wrong_types):
        place.write_bytes(text)
        again = reconcile.Results("results")
        again.agree()
        again.take_over()
        record = again.record("<results>/sub01/ridge/a.h5")
        assert record
        assert record["params"] == about["params"]


def test_damaged_dataset_records(tmp_path):
    path = tmp_path / dataset_record.RECORD
    content = (
        b'{"dataset": "toy", "simulated": false, "sessions": {"sub01": [1, 2]}, "auto": {"compute.dtype": "float32"}}'
    )
    for text in damaged(content, 200):
        path.write_bytes(text)
        found = dataset_record.read(tmp_path)
        assert found is None or found["dataset"] is not None


def said_by(work):
    """What the error of a call says; nothing if there is none."""
    try:
        work()
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def unreadable(place):
    """The place as a link that leads to itself, which nobody, not even root, can open."""
    place.unlink()
    place.symlink_to(place.name)


def test_what_is_there_and_cannot_be_read_is_not_taken_for_missing(results, tmp_path):
    """Otherwise a run would make again what is sound."""
    place = receipts.place("<results>/sub01/ridge/a.h5", "results")
    unreadable(place)
    with pytest.raises(system_faults.SystemFault, match=r"a\.h5\.json is, or lies below, a link that leads back"):
        reconcile.Results("results").by_name  # noqa: B018
    (tmp_path / dataset_record.RECORD).symlink_to(dataset_record.RECORD)
    with pytest.raises(system_faults.SystemFault, match=r"dataset\.json is, or lies below, a link that leads back"):
        dataset_record.read(tmp_path)


def test_verify_does_not_make_again_what_cannot_be_read(results, capsys):
    assert verify.main(["results"]) == 0
    results.unlink()
    results.mkdir()
    (results / "a").symlink_to("a")
    receipts.write(receipt(files={"a": [3, 5, "sha256:1"]}), "results")
    capsys.readouterr()
    assert verify.main(["results"]) == 1
    said = capsys.readouterr().out
    assert "(stage ridge): results/sub01/ridge/a.h5/a is, or lies below, a link that leads back to itself" in said
    assert "Make it again" not in said


def test_links_that_lead_back_among_results(results):
    """Are passed over: they are no receipts."""
    Path("results/loop").symlink_to("loop")
    Path("results/sub01/back").symlink_to("..")
    assert list(reconcile.Results("results").by_name) == ["<results>/sub01/ridge/a.h5"]


TABLE = b"s\th:m:s\tmax_rss\tcpu_time\tresources\n12.5\t0:00:12\t300.5\t11.0\t{'gpu': 1}\n"


def test_damaged_benchmarks_are_named(tmp_path):
    path = tmp_path / "sub01/benchmarks/recon.tsv"
    path.parent.mkdir(parents=True)
    n_said = 0
    cells = (b"nan", b"-3", b"inf", b"1e999", b"a", b"\xff", b"9" * 200_000, b'"', b"\0")
    for text in (*damaged(TABLE, 400), *(TABLE.replace(b"12.5", cell) for cell in cells)):
        path.write_bytes(text)
        said = said_by(lambda: resource_usage.costs(tmp_path))
        what = "is no table of Snakemake's benchmarks; delete|: \\w+ is .*; expected a number from 0. Delete"
        assert re.fullmatch(rf"({path} ?({what}) it, the cost of that job is lost.)?", said)
        assert said_by(lambda: resource_usage.read_benchmark(path)) == ""
        n_said += bool(said)
    assert n_said > 100
    path.unlink()  # as the sentence advises
    assert resource_usage.costs(tmp_path) == []


LOG = (
    b"Job stats:\n[Sun Nov 29 18:00:00 2026]\nrule ridge:\n    jobid: 3\n    wildcards: subject=sub01, feature=vdvae\n"
    b"    resources: gpu=0\n    log: a.log\n    benchmark: b.tsv\n\n[Sun Nov 29 18:00:09 2026]\n"
    b"Finished jobid: 3 (Rule: ridge)\n[Not Jan a date]\n"
)


def test_damaged_logs_are_read(tmp_path):
    path = tmp_path / "a.snakemake.log"
    path.write_bytes(LOG)
    assert watch.read_log(path).states == {("ridge", "subject=sub01, feature=vdvae"): "done"}
    for text in damaged(LOG, 400):
        path.write_bytes(text)
        log = watch.read_log(path)
        watch.rows(log.jobs.values(), set(), log, set())
        list(watch.failures(path))


def test_damaged_tables_of_stimuli(tmp_path):
    path = tmp_path / "stimuli.tsv"
    for number, text in enumerate((b"", b"id\n3\n", b"\xff\n", b"id\tsplit\n" + b"9" * 200_000 + b"\ttest\n")):
        path.write_bytes(text)
        os.utime(path, (number, number))
        assert re.match(rf"{path} .*; |{path} is not UTF-8", said_by(lambda: watch.splits(path))), text


@pytest.mark.parametrize("module", ["verify", "resource_usage", "watch", "estimate", "migrate"])
def test_commands_say_one_sentence_in_folders_that_cannot_be_read(tmp_path, module):
    (tmp_path / "results").symlink_to("results")
    (tmp_path / "Snakefile").symlink_to("Snakefile")
    (tmp_path / "brain_diffuser").symlink_to(ROOT / "brain_diffuser")
    command = [interpreter(), "-m", f"brain_diffuser.{module}"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


def test_new_artifacts_can_be_read_by_others(results):
    """As far as the umask of who makes them allows."""
    mask = os.umask(0o022)
    os.umask(mask)
    with hdf5.adding(results) as file:
        hdf5.describe(file, "receipt", "a")
    decoder = network.Decoder({"sub01": 3}, (4,), hidden=2, blocks=0)
    network.save("decoder.safetensors", network.Weights(decoder, ("features",), "", None))
    for path in (results, Path("decoder.safetensors")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
