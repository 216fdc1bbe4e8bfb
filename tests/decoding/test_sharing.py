"""Features are extracted once: for subjects that see the same test stimuli, and for workflows that share a cache."""

import re
import shutil

import pytest
from nsd_tree import write_tree
from toy_workflow import N_TEST, N_TRAIN, digests, edit_config, snakemake, write_checkout


def jobs(run):
    """How many jobs of each rule ran, or would."""
    return {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.M)}


def features(checkout, subject):
    folder = checkout / f"results/{subject}/features"
    return {path.removeprefix(f"{folder}/"): digest for path, digest in digests(folder).items()}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Two subjects with as many sessions, of which the first is configured, and an empty cache."""
    checkout = write_checkout(tmp_path / "checkout")
    write_tree(checkout / "toy/nsd", subject=2, sessions=2, n_train=N_TRAIN, n_test=N_TEST, formats=("nii.gz",))
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    return checkout


def test_a_feature_is_extracted_once(checkout, tmp_path, monkeypatch):
    def run(checkout, *arguments):
        found = snakemake(checkout, "--cores", "2", "--cache", *arguments)
        assert found.returncode == 0, found.stderr
        return found

    def asked(subject):
        return [f"results/{subject}/features/{name}.h5" for name in ("vdvae_test", "clip_text_test")]

    first = run(checkout, "--", *asked("sub01"), "results/sub01/features/vdvae_train.h5")
    assert jobs(first)["features_cached_shard"] == 3
    cached = sorted((tmp_path / "cache").iterdir())
    assert len(cached) == 3

    # Another subject: its own test stimuli are those that are known, and nothing of the first one runs.
    edit_config(checkout, "subjects", ["sub01", "sub02"])
    more = run(checkout, "--", *asked("sub01"), *asked("sub02"))
    assert jobs(more) == {"design": 1, "stimuli": 1, "features": 2, "total": 4}
    assert "sub01" not in "".join(re.findall("wildcards: .*", more.stderr))
    assert features(checkout, "sub02").items() <= features(checkout, "sub01").items()

    # Another workflow, of the second subject: it finds them in the cache.
    other = shutil.copytree(checkout, tmp_path / "other", ignore=shutil.ignore_patterns("results", ".snakemake"))
    edit_config(other, "subjects", ["sub02"])
    again = run(other, "--", *asked("sub02"))
    assert len(re.findall("from cache", again.stderr)) == jobs(again)["features_cached_shard"] == 2
    assert "to cache" not in again.stderr
    assert sorted((tmp_path / "cache").iterdir()) == cached
    assert features(other, "sub02") == features(checkout, "sub02")

    # A hit brings the receipt of what it brings, so nothing is planned for ever; and a job that dies has made nothing.
    unchanged = snakemake(other, "-n", "--cache", "--", *asked("sub02"))
    assert "Nothing to be done" in unchanged.stdout + unchanged.stderr
    (receipt,) = other.glob("results/shared/*/shards/features/vdvae_test/.receipts/*.json")
    assert "'features.storage': 'float16'" in receipt.read_text()
    edit_config(other, "features.storage", "float32")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/torch.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    assert snakemake(other, "--cores", "2", "--cache", "--", *asked("sub02")).returncode != 0
    monkeypatch.delenv("PYTHONPATH")
    unchanged = snakemake(other, "-n", "--cache", "--", *asked("sub02"))
    assert jobs(unchanged) == {"features_cached_shard": 2, "features": 2, "shared_features": 2, "total": 6}
    edit_config(other, "features.storage", "float16")

    # Without the cache nothing runs again, where the network is a file.
    plain = snakemake(checkout, "-n", *(f"results/{subject}/features/vdvae_test.h5" for subject in ("sub01", "sub02")))
    assert "Nothing to be done" in plain.stdout + plain.stderr
