"""docs/storage.md: results in an S3 storage on this machine, data and networks in their folders."""

import os
import re

import h5py
import pytest
from toy_workflow import N_TEST, ROOT, edit_config, snakemake, write_checkout

pytestmark = pytest.mark.workflow

pytest.importorskip("snakemake_storage_plugin_s3", reason="needs requirements-s3.txt")
boto3 = pytest.importorskip("boto3", reason="needs requirements-s3.txt")
moto_server = pytest.importorskip("moto.server", reason="needs requirements-dev.txt")


@pytest.fixture
def bucket(monkeypatch):
    """A bucket with a stranger's object, and the address of its server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    bucket = boto3.resource("s3", endpoint_url=address, region_name="us-east-1").Bucket("lab")
    bucket.create()
    bucket.put_object(Key="other", Body=b"of another project")
    yield bucket, address
    server.stop()


def test_results_in_s3(bucket, tmp_path):
    """A folder of images is written there by one job and read from there by another; a second run does nothing."""
    bucket, address = bucket
    checkout = write_checkout(tmp_path / "checkout")
    (documented,) = re.findall(r"--default-storage-provider s3.*\n.*(?= -- )", (ROOT / "docs/storage.md").read_text())
    storage = documented.replace("\\\n", " ").replace("https://s3.example.org", address).split()
    target = "results/sub01/perceptual_scores/mean_image/pixels.csv"
    run = snakemake(checkout, "--cores", "2", target, *storage)
    assert run.returncode == 0, run.stderr
    keys = {each.key.removeprefix("brain/") for each in bucket.objects.all()}
    assert {target, "results/sub01/benchmarks/design.tsv", "other"} <= keys
    assert sum(key.startswith("results/sub01/references/mean_image/nsd") for key in keys) == N_TEST
    assert not [key for key in keys if key.startswith("toy/")]
    local = {path for path in checkout.glob("results/**/*.*") if path.is_file()}
    assert {path.name for path in local if path.parent.name != ".receipts"} == {".dataset.json"}
    again = snakemake(checkout, "-n", target, *storage)
    assert "Nothing to be done" in again.stdout + again.stderr
    other = snakemake(checkout, "-n", target, *storage, "--config", "dataset=demo")
    assert other.returncode == 1
    edit_config(checkout, "metrics.control_seed", 3)
    edited = snakemake(checkout, "-n", target, *storage)
    assert dict(re.findall(r"^(\w+) +(\d+)$", edited.stdout, re.M)) == {"pixels": "1", "total": "1"}
    edit_config(checkout, "metrics.control_seed", 0)
    (stimulus_file,) = checkout.glob("toy/nsd/**/nsd_stimuli.hdf5")
    with h5py.File(stimulus_file, "r+") as file:
        file["imgBrick"][0] = 255 - file["imgBrick"][0]
    os.utime(stimulus_file, (1_000_000_000, 1_000_000_000))
    older = snakemake(checkout, "-n", target, *storage)
    assert {"stimuli", "mean_image", "pixels"} <= set(re.findall(r"^(\w+) +\d+$", older.stdout, re.M))
