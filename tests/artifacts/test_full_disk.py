"""A full disk ends in one sentence, never in a crash; nothing half-written gets a name; with room all is written."""

import errno
import json

import pytest
import small_disk

pytestmark = pytest.mark.long

WRITERS = """
import numpy as np
from small_disk import FOLDER
from brain_diffuser.artifacts import hdf5, image_files, shards, tables
from brain_diffuser.workflow import receipts

VALUES = np.random.default_rng(0).standard_normal((300, 500))
IDS = np.arange(300)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 90, 90, 3), np.uint8)

def rows():
    with hdf5.create(FOLDER / "made.h5", VALUES.shape, np.float64, IDS) as stored:
        for row, values in enumerate(VALUES):
            stored[row] = values

def columns():
    with hdf5.create(FOLDER / "made.h5", VALUES.shape, np.float64, IDS, by_columns=True) as stored:
        for start in range(0, VALUES.shape[1], 100):
            stored[:, start : start + 100] = VALUES[:, start : start + 100]

def groups():
    with hdf5.writing(FOLDER / "made.h5") as file:
        for name in range(30):
            hdf5.store(file, f"{name}/labels", VALUES[:20])
            file[f"{name}/contiguous"] = VALUES[0]

def adding():
    with hdf5.adding(FOLDER / "finished.h5") as file:
        hdf5.describe(file, "receipt", "long " * 9000)

WRITERS = {
    "whole": lambda: hdf5.save(FOLDER / "made.h5", VALUES, IDS),
    "rows": rows,
    "columns": columns,
    "groups": groups,
    "images": lambda: shards.save_images(FOLDER / "made.h5", enumerate(PIXELS), np.arange(40, dtype=np.int32)),
    "adding": adding,
    "folder": lambda: image_files.write_folder(FOLDER / "images", FOLDER / "images.tsv", enumerate(PIXELS), "nsd"),
    "table": lambda: tables.write_csv(FOLDER / "made.csv", ["x"], ([x] for x in VALUES[:60].ravel())),
}
"""

PROGRAM = (
    WRITERS
    + """
import json, sys
from small_disk import fill, free, names

for name, write in WRITERS.items():
    for left in json.loads(sys.argv[1]):
        free()
        for path in FOLDER.iterdir():
            path.unlink() if path.is_file() else hdf5.shutil.rmtree(path)
        if name == "adding":
            hdf5.save(FOLDER / "finished.h5", VALUES[:2], IDS[:2])
        before = names()
        fill(left)
        try:
            write()
            error = None
        except OSError as said:
            error = [type(said).__name__, said.errno, str(said)]
        after = names()
        if before:
            assert np.array_equal(hdf5.load(FOLDER / "finished.h5").values, VALUES[:2])
        free()
        write()
        print(json.dumps([name, left, error, before, after, names()]))
"""
)


@pytest.mark.parametrize("mounted", [True, False])
def test_every_writer(tmp_path, mounted):
    """With 0 to 1.5 MB free; where nothing may be mounted, both cases are limits on the size of files."""
    lefts = [0, 4096, 20_000, 500_000]
    found = small_disk.run(PROGRAM, tmp_path / "disk", json.dumps(lefts), mounted=mounted)
    assert "Traceback" not in found.stderr
    refused = 0
    for line in found.stdout.splitlines():
        name, _, error, before, after, at_last = json.loads(line)
        assert at_last
        assert not [path for path in at_last if ".part-" in path]
        if error is None:
            continue
        refused += 1
        kind, number, sentence = error
        assert kind == "SystemFault"
        assert number in (errno.ENOSPC, errno.EFBIG)
        assert after == before or (name, after) == ("folder", [path for path in at_last if path != "images.tsv"])
        assert sentence.startswith(str(tmp_path / "disk"))
        assert ".part-" not in sentence
        assert "cannot be written: " in sentence
        assert "run again; what is finished stays." in sentence
        if number == errno.ENOSPC:
            assert "its disk is full (0." in sentence
    assert refused > 15


CHECKPOINTS = """
import numpy as np, torch
from small_disk import FOLDER, fill, free, names
from brain_diffuser.decoding import checkpoint, network

decoder = network.Decoder({"sub01": 300}, (4, 30), hidden=128, blocks=2, projector=False)
optimiser = torch.optim.AdamW(decoder.parameters())
decoder({"sub01": torch.randn(8, 300)}).sum().backward()
optimiser.step()
scaler = torch.amp.GradScaler("cpu", enabled=False)
parts = decoder, optimiser, scaler
checkpoint.save(FOLDER / "training", "f", *parts, [{"loss": 1.0}], decoder.state_dict())
size = sum(path.stat().st_size for path in (FOLDER / "training/last").iterdir())
writers = {
    "checkpoint": lambda: checkpoint.save(FOLDER / "training", "f", *parts, [{"loss": 2.0}], decoder.state_dict()),
    "decoder": lambda: network.save(FOLDER / "decoder.safetensors", network.Weights(decoder, ("tokens",), "", None)),
}
for name, write in writers.items():
    before = names()
    for left in range(0, size // 6, max(1, size // 25)):
        fill(left)
        try:
            write()
        except OSError as error:
            print(type(error).__name__, str(error).replace(str(FOLDER), ""))
        else:
            raise SystemExit(f"{name}: {left} of {size} bytes were enough")
        assert names() == before, names()
    free()
    assert name != "checkpoint" or checkpoint.resume(FOLDER / "training", "f", *parts)[0] == [{"loss": 1.0}]
    write()
assert checkpoint.resume(FOLDER / "training", "f", *parts)[0] == [{"loss": 2.0}]
assert network.load(FOLDER / "decoder.safetensors").decoder.voxels == {"sub01": 300}
"""


@pytest.mark.parametrize("mounted", [True, False])
def test_checkpoints_and_decoders(tmp_path, mounted):
    found = small_disk.run(CHECKPOINTS, tmp_path / "disk", mounted=mounted)
    assert "Traceback" not in found.stderr
    lines = found.stdout.splitlines()
    for name in ("/training/last", "/decoder.safetensors"):
        said = [line for line in lines if line.startswith(f"SystemFault {name} cannot be written: ")]
        assert len(said) > 3
    assert all("cannot be written: " in line for line in lines)


JOB = """
import sys
from types import SimpleNamespace
import numpy as np
from snakemake.iocontainers import Namedlist
from small_disk import FOLDER, fill, free, names
from brain_diffuser.artifacts import hdf5
from brain_diffuser.workflow.job import job

snakemake = SimpleNamespace(
    rule="recon", log=[str(FOLDER / "recon.log")], input=[], output=[str(FOLDER / "results/recon.h5")],
    params=Namedlist(fromdict={}), config={"dataset": "toy", "results": str(FOLDER / "results")}, threads=1,
)
def run():
    with job(snakemake):
        hdf5.logging.getLogger("brain_diffuser").info("begins " * 2000)
        hdf5.save(snakemake.output[0], np.random.default_rng(0).standard_normal((60, 3000)), np.arange(60))
hdf5.logging = __import__("logging")
for left in (0, 4096, 16384, 100_000, 1_000_000):
    fill(left)
    try:
        run()
    except SystemExit as end:
        assert end.code == 1
    assert not [name for name in names() if name.startswith("results/") and name.endswith((".h5", ".json"))], names()
free()
run()
assert "results/recon.h5" in names() and "results/.receipts/recon.h5.json" in names()
"""


@pytest.mark.parametrize("mounted", [True, False])
def test_a_job_whose_log_is_on_the_full_disk_too(tmp_path, mounted):
    said = small_disk.run(JOB, tmp_path / "disk", mounted=mounted).stderr
    assert "Traceback" not in said
    assert "Logging error" not in said
    sentences = [line for line in said.splitlines() if line.startswith("rule recon: ")]
    assert len(sentences) == 5
    assert all("cannot be written: " in sentence for sentence in sentences)


COPYING = """
import numpy as np
from nsd_tree import write_tree
from small_disk import FOLDER, fill, free
from brain_diffuser.data import nsd_design
import sys
from pathlib import Path

tree = write_tree(Path(sys.argv[1]))
nsd_id = np.unique(tree.nsd_id).astype(np.int32)
fill(3000)
try:
    nsd_design.copy_stimuli(tree.stimulus_file, FOLDER / "images.h5", nsd_id)
except OSError as error:
    print(error)
free()
nsd_design.copy_stimuli(tree.stimulus_file, FOLDER / "images.h5", nsd_id)
"""


def test_a_full_disk_is_not_blamed_on_what_is_copied(tmp_path):
    said = small_disk.run(COPYING, tmp_path / "disk", tmp_path).stdout
    assert said.startswith(f"{tmp_path}/disk/images.h5 cannot be written: ")
    assert "nsd_stimuli" not in said
    assert "download" not in said.lower()


SCRATCH = """
import sys
from pathlib import Path
import numpy as np
from small_disk import FOLDER, fill, free, names
from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import training_data

paths = [Path(sys.argv[1], name) for name in ("betas.h5", "features.h5")]
for path, width in zip(paths, (3, 20_000)):
    values = np.random.default_rng(0).standard_normal((20, width)).astype(np.float32)
    hdf5.save(path, values, np.arange(20), axes=("x",))
for left in (0, 8192, 300_000):
    fill(left)
    try:
        training_data.read_source(*paths, FOLDER / "scratch", holdout=0.3, seed=0)
    except OSError as error:
        print(error)
free()
source, _ = training_data.read_source(*paths, FOLDER / "scratch", holdout=0.3, seed=0)
assert np.array_equal(source.features, hdf5.load(paths[1]).values)
"""


@pytest.mark.parametrize("mounted", [True, False])
def test_a_copy_that_is_mapped_into_memory(tmp_path, mounted):
    """Writing through the map would end the process with a bus error."""
    said = small_disk.run(SCRATCH, tmp_path / "disk", tmp_path, mounted=mounted).stdout.splitlines()
    assert len(said) == 3
    assert all(line.startswith(f"{tmp_path}/disk/scratch cannot be written: ") for line in said)
