"""A few stimuli go through all stages first; a full run takes their images and makes exactly the rest."""

import re
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from toy_workflow import N_TEST, snakemake

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.artifacts.single_images import Singles
from brain_diffuser.data import chosen, stimulus_table
from brain_diffuser.models import batches
from brain_diffuser.workflow.config import targets

TEST, TRAIN = np.array([25, 14, 57, 3], np.int32), np.array([8, 9], np.int32)
SPLITS = {
    name: stimulus_table.Stimuli(ids, tuple(np.array([row]) for row in range(len(ids))))
    for name, ids in (("train", TRAIN), ("test", TEST))
}


def computed(rows, batch_size, device, dtype):
    """What a network makes of rows if it depends on a row's place in its batch and on the size of the batch."""
    return [
        (row, place, batch.n_rows + batch.padding)
        for batch in batches.split(range(len(rows)), batch_size, device, dtype)
        for place, row in enumerate(rows[batch.rows])
    ]


@pytest.mark.parametrize("missing", [[0], [2, 3], [1, 9], [4, 5, 6, 7], list(range(11)), []], ids=str)
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_missing_rows_come_out_as_if_all_were_computed(missing, batch_size):
    how = batch_size, "cpu", torch.float32
    of_all = computed(range(11), *how)
    order = batches.of_missing(missing, 11, *how)
    found = [
        each
        for each, (_, is_missing) in zip(computed([row for row, _ in order], *how), order, strict=True)
        if is_missing
    ]
    assert found == [of_all[row] for row in missing]
    assert {row for row, _ in order} == set(missing)  # no other stimulus is read
    for row, place, size in of_all:
        assert batches.place(row, 11, *how) == (place, size)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_in_16_bits_the_missing_rows_alone_are_computed(device):
    how = 4, device, torch.bfloat16
    assert batches.of_missing([2, 9], 11, *how) == [(2, True), (9, True)]
    assert len({batches.place(row, 11, *how) for row in range(11)}) == 1
    assert batches.place(0, 11, 4, "cuda", torch.float16) != batches.place(0, 11, 8, "cuda", torch.float16)


def image(row):
    return np.full((4, 5, 3), row, np.uint8)


def complete(singles, ids, own=None):
    """The images of some stimuli, and which rows were computed for them."""
    rows = []

    def compute(missing):
        rows.extend(missing)
        return ((row, image(ids[row])) for row in missing)

    found = list(singles.complete(np.array(ids, np.int32), own or [0] * len(ids), compute))
    for (number, made), expected in zip(found, ids, strict=True):
        assert number == expected
        np.testing.assert_array_equal(made, image(expected))
    return rows


def test_images_are_taken_where_the_key_is_the_same(tmp_path, caplog):
    kept = Singles(tmp_path, "settings", are_kept=True)
    assert complete(kept, [7, 5]) == [0, 1]
    full = Singles(tmp_path, "settings")
    assert complete(full, [3, 5, 7]) == [0]
    assert complete(full, [3, 5, 7]) == [0]  # a full run keeps nothing
    assert complete(full, [3, 5, 7], own=[0, 1, 0]) == [0, 1]  # made of another stage-1 image, or at another place
    assert complete(Singles(tmp_path, "other settings"), [5, 7]) == [0, 1]
    path = full.path(5)
    path.write_bytes(path.read_bytes()[:-100])
    assert complete(full, [5, 7]) == [0]
    assert "its image is made again" in caplog.text


def test_images_in_another_order_are_refused(tmp_path):
    singles = Singles(tmp_path, "")
    with pytest.raises(ValueError, match="the image of row 1 came in place of that of row 0"):
        list(singles.complete(np.array([4, 5], np.int32), [0, 0], lambda rows: iter([(1, image(5))])))


def test_stimuli_of_a_job(tmp_path):
    hdf5.save(tmp_path / "text.h5", np.zeros((4, 2)), TEST)
    of_shard = shards.part("00002-00005", tmp_path / "text.h5")
    assert of_shard.nsd_id.tolist() == [57, 3]
    assert of_shard.by_shard == [(slice(2, 5), range(2))]
    assert shards.part("00004-00006", tmp_path / "text.h5").by_shard == []
    of_chosen = shards.part("", tmp_path / "text.h5", np.array([3, 25], np.int32), 3)
    assert of_chosen.nsd_id.tolist() == [25, 3]
    assert of_chosen.by_shard == [(slice(0, 3), [0]), (slice(3, 4), [0])]
    with pytest.raises(ValueError, match=r"text\.h5 lacks nsd_id 8, which is chosen"):
        shards.part("", tmp_path / "text.h5", np.array([3, 8], np.int32), 3)


@pytest.mark.parametrize(("only", "expected"), [(1, [25]), (4, [25, 14, 57, 3]), ([3, 14], [14, 3]), ([57, 57], [57])])
def test_chosen_stimuli(tmp_path, only, expected):
    stimulus_table.write_chosen(tmp_path / "stimuli.tsv", chosen.choose(only, SPLITS, "sub01"))
    assert stimulus_table.read(tmp_path / "stimuli.tsv")["test"].nsd_id.tolist() == expected


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (5, "recon.only is 5, and sub01 has 4 test stimuli; ask for 4 at most"),
        (
            [3, 8],
            "recon.only names stimulus 8, which trains the decoder of sub01; name test stimuli, such as 25, 14, 57, 3",
        ),
        ([99], "recon.only names stimulus 99, which sub01 has not seen; name test stimuli, such as 25, 14, 57, 3"),
    ],
)
def test_stimuli_that_cannot_be_chosen(only, expected):
    with pytest.raises(ValueError, match=f"^config.yaml: {expected}$"):
        chosen.choose(only, SPLITS, "sub01")


def test_targets_that_are_images():
    of = targets.of_chosen(["-n", "out/sub01/recon/nsd00007.png", "out/sub01/stage1/nsd00003.png"], "all", "out", "nsd")
    assert of.only == [3, 7]
    assert of.subjects == ("sub01",)
    assert list(of.instead) == ["out/sub01/recon/nsd00007.png", "out/sub01/stage1/nsd00003.png"]
    assert of.instead["out/sub01/recon/nsd00007.png"][0] == "<results>/sub01/chosen/recon"
    assert targets.of_chosen(["out/sub01/recon", "out/report.html"], "all", "out", "nsd") == ("all", {}, ())
    assert list(targets.of_chosen(["out/sub01/recon", "out/report.html"], 8, "out", "nsd").instead) == [
        "out/sub01/recon"
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["r/a/recon/nsd00007.png", "r/b/recon/nsd00008.png"], "images of different stimuli of a and b are asked for"),
        (
            ["r/a/variants/x/recon/nsd00007.png"],
            "single images are made of stage1 and recon; ask for r/a/variants/x/recon",
        ),
    ],
)
def test_targets_that_are_no_images_of_chosen_stimuli(asked, expected):
    with pytest.raises(ValueError, match=expected):
        targets.of_chosen(asked, "all", "r", "nsd")


def jobs(text):
    """(rule, log file) of every job that a run, or a dry run, names, and how often."""
    return Counter(re.findall(r"^(?:local)?rule (\S+):\n(?:    .*\n)*?    log: (\S+)", text, re.M))


def ran(found):
    assert found.returncode == 0, found.stderr
    return jobs(found.stdout + found.stderr)


def pngs(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.workflow
def test_the_full_run_makes_exactly_the_rest(finished, tmp_path):
    """Three stimuli, then one image by its name, then all images: every job and image once, with the same bytes."""
    made = shutil.ignore_patterns("results", ".snakemake")  # the networks of another toy would be other ones
    checkout = shutil.copytree(finished, tmp_path / "first", ignore=made)
    results, whole = checkout / "results/sub01", finished / "results/sub01"
    of_all = ran(snakemake(checkout, "-n", "--", "results/sub01/recon"))
    first = ran(snakemake(checkout, "--cores", "2", "--config", "recon={only: 3}"))
    ids = [line.split("\t")[1] for line in (whole / "recon_manifest.tsv").read_text().splitlines()[1:]]
    names = [f"nsd{int(number):05d}.png" for number in ids]
    assert set(pngs(results / "chosen/recon")) == set(names[:3])
    assert not (results / "recon").exists()
    assert not (results / ".receipts/recon.json").exists()
    assert not (results / "data/stimuli_test.h5").exists()  # of the stimulus file only what is needed is read

    second = ran(snakemake(checkout, "--cores", "2", f"results/sub01/recon/{names[5]}"))
    assert set(pngs(results / "chosen/recon")) == {names[5]}
    assert {rule for rule, _ in second} == {rule for rule, _ in first if rule.startswith("chosen_")}
    assert "Nothing to be done" in snakemake(checkout, "-n", f"results/sub01/recon/{names[5]}").stdout

    before = Counter({job: n for job, n in first.items() if not job[0].startswith("chosen_")})
    full = snakemake(checkout, "--cores", "2", "--", "results/sub01/recon")
    assert ran(full) == of_all - before
    for stage, log in (("stage1", "stage1_00000-00500.log"), ("recon", "recon_00000-00064.log")):
        assert f"4 of {N_TEST} images were made before" in (results / "logs" / log).read_text()
        assert pngs(results / stage) == pngs(whole / stage)
        shown = results / "chosen" / stage / names[5]
        assert shown.read_bytes() == (whole / stage / names[5]).read_bytes()
    assert (results / "recon_manifest.tsv").read_bytes() == (whole / "recon_manifest.tsv").read_bytes()
    assert "Nothing to be done" in snakemake(checkout, "-n", "results/sub01/recon").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--config", "recon={only: 0}"), "recon.only is 0; expected all or a whole number at least 1 or a list"),
        (("--config", "recon={only: 9}"), "recon.only is 9, and sub01 has 8 test stimuli; ask for 8 at most"),
        (("--config", "recon={only: [3]}"), "recon.only names stimulus 3, which sub01 has not seen; name test stimuli"),
        (("results/sub01/recon/nsd00003.png",), "a target names stimulus 3, which sub01 has not seen; name"),
        (("results/sub01/chosen/recon",), "recon.only is all, and results/sub01/chosen has images of chosen stimuli"),
    ],
)
def test_a_wrong_choice_is_one_sentence(finished, arguments, expected):
    found = snakemake(finished, "-n", *arguments)
    assert found.returncode == 1
    assert expected in found.stderr.splitlines()[-1]
