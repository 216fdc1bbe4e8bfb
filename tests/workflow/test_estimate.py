"""What a run will take: sums in closed form at the published sizes, own speeds, and the command on a toy."""

import subprocess
import sys

import pytest
import yaml
from toy_workflow import ROOT

from brain_diffuser.models import precisions
from brain_diffuser.workflow import estimate, resource_usage, watch
from brain_diffuser.workflow.config import schema

N_TRAIN, N_TEST = 8859, 982


def settings(**changes):
    found = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"dataset": "nsd"}
    for key, value in changes.items():
        found[key] = found[key] | value
    return schema.Config.model_validate(found)


def job(rule, gpus=0, **wildcards):
    values = {"subject": "sub01"} | wildcards
    name = "_".join([rule.removesuffix("_shard"), *(value for key, value in values.items() if key != "subject")])
    words = ", ".join(f"{key}={value}" for key, value in values.items())
    return watch.Job(rule, words, "", f"results/sub01/benchmarks/{name}.tsv", f"mem_mb=1, gpu={gpus}")


@pytest.fixture
def nsd(tmp_path, monkeypatch):
    """A subject whose design is known."""
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "results/sub01/data/stimuli.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("nsd_id\tsplit\n" + "1\ttrain\n" * N_TRAIN + "2\ttest\n" * N_TEST)
    (tmp_path / "results/sub01/benchmarks").mkdir()
    return tmp_path


@pytest.fixture(autouse=True)
def processor(tmp_path_factory, monkeypatch):
    """A processor that does not multiply bfloat16; the flags can be written."""
    path = tmp_path_factory.mktemp("machine") / "cpuinfo"
    monkeypatch.setattr(precisions, "CPUINFO", path)
    return path


def need_of(some, **changes):
    return estimate.needs(estimate.Estimate(settings(**changes), some), some)


def test_disk_follows_from_shapes(nsd):
    features = [
        job("features", feature=feature, split=split)
        for feature in ("vdvae", "clip_text", "clip_vision")
        for split in ("train", "test")
    ]
    others = [job("stimuli", split="train"), job("stimuli", split="test"), job("ridge_kernel"), job("recon")]
    ridge = [job("ridge", feature=feature) for feature in ("vdvae", "clip_text", "clip_vision")]
    found = need_of([*features, *others, *ridge])
    n, columns = N_TRAIN + N_TEST, 91168 + 59136 + 197376
    assert found["features"].disk == n * columns * 2
    assert found["data"].disk == n * 425 * 425 * 3
    assert found["ridge"].disk == n * N_TRAIN * 8 + N_TEST * columns * 4
    assert found["recon"].disk == N_TEST * 512 * 512 * 3
    features_settings = {"vdvae": {"posterior": "mean", "seed": 0}, "storage": "float32", "keep": True}
    assert need_of(features, features=features_settings)["features"].disk == 2 * found["features"].disk
    assert need_of(features, features=features_settings | {"keep": False})["features"].disk == 0


def shards_of_recon(gpus=0):
    return [job("recon_shard", gpus, span=f"{start:05d}-{start + 64:05d}") for start in range(0, N_TEST, 64)]


def test_time_on_a_cpu_is_what_was_measured(nsd, processor):
    found = need_of(shards_of_recon())["recon"]
    assert found.cpu == pytest.approx([N_TEST * (37 * 26.6 + 34.9) + 16 * 12.0] * 2)
    assert (found.gpu, found.basis, found.unknown) == ([0.0, 0.0], {"measured"}, set())
    short = need_of(shards_of_recon(), compute={"dtype": "bfloat16"})["recon"]
    assert short.cpu == pytest.approx([N_TEST * (37 * 8.3 + 17.4) + 16 * 8.0] * 2)
    processor.write_text("flags : fpu amx_bf16\n")
    assert need_of(shards_of_recon())["recon"].cpu == short.cpu  # what auto stands for there


def test_time_on_a_gpu_is_that_of_the_documentation(nsd):
    found = need_of(shards_of_recon(gpus=1))["recon"]
    assert [round(seconds / 3600, 1) for seconds in found.gpu] == [0.5, 2.0]  # docs/real_data.md
    assert found.basis == {"estimate"}


def test_own_speed_counts_first(nsd):
    extended = "s\th:m:s\tmax_rss\tcpu_time\tresources\n128.0\t0:02:08\t1\t64.0\t{'gpu': 1}\n"
    (nsd / "results/sub01/benchmarks/recon_00000-00064.tsv").write_text(extended)
    (nsd / "results/sub01/benchmarks/recon.tsv").write_text("s\tcpu_time\n9\t9\n")
    found = need_of(shards_of_recon(gpus=1))["recon"]
    assert found.gpu == pytest.approx([N_TEST * 2.0] * 2)
    assert found.cpu == pytest.approx([N_TEST * 1.0] * 2)
    assert found.basis == {"measured here"}
    noise = job("variant_shard", 1, variant="without_vdvae", span="00000-00064")  # all 50 steps
    assert need_of([noise])["variants"].gpu == pytest.approx([64 * 2.0 * 50 / 37] * 2)
    assert need_of(shards_of_recon())["recon"].basis == {"measured"}  # a GPU's speed is not a CPU's


USED = (
    "10:00:00 recon_shard: used {cpu} CPU-s in 90.0 s, 100 MiB at the peak; 60.0 CPU-s in 80.0 s of it for 64 items "
    "and {steps} steps; in {dtype}; subject=sub01, span=00000-00064\n"
)


@pytest.mark.parametrize(
    ("steps", "dtype", "basis", "factor"),
    [(37, "float32", "measured here", 1.0), (10, "float32", "measured here", 3.7), (37, "bfloat16", "measured", None)],
)
def test_own_speeds_are_scaled_by_steps_and_not_of_another_precision(nsd, steps, dtype, basis, factor):
    (nsd / "results/sub01/logs").mkdir()
    (nsd / "results/sub01/benchmarks/recon_00000-00064.tsv").write_text(
        "s\tcpu_time\tresources\n95.0\t0.0\t{'gpu': 0}\n"
    )
    text = USED.format(cpu=70.0, steps=64 * steps, dtype=dtype)
    (nsd / "results/sub01/logs/recon_00000-00064.log").write_text(text)
    found = need_of(shards_of_recon())["recon"]
    assert found.basis == {basis}
    if factor:
        assert found.cpu[0] == pytest.approx(16 * 10.0 + N_TEST * 60.0 / 64 * factor)


def test_tables_of_short_jobs_alone_are_passed_over(nsd):
    (nsd / "results/sub01/benchmarks/recon_00000-00064.tsv").write_text("s\tcpu_time\n20.0\t1.0\n")
    assert need_of(shards_of_recon())["recon"].basis == {"measured"}


def test_what_is_not_known_is_said(nsd):
    plan = [
        *shards_of_recon(),
        job("variant_shard", variant="neuraldiffuser", span="00000-00064"),
        job("accuracy"),
        job("recon"),
    ]
    words = "\n".join(estimate.lines(need_of(plan), 2, fetches=True))
    assert "No figure, and so not counted in time: accuracy, recon (gathering), variant." in words
    assert "What is fetched is not counted: docs/real_data.md." in words
    assert "accuracy  1" in words
    other = settings()
    (nsd / "tiny.json").write_text("{}")
    paths = other.paths.model_copy(update={"vdvae": "tiny.th"})
    unknown = other.model_copy(update={"datasets": other.datasets | {"nsd": paths}})
    assert estimate.dataset_label_of(unknown) is None
    assert estimate.needs(estimate.Estimate(unknown, plan), plan)["recon"].unknown == {"recon", "recon (gathering)"}


def test_a_job_of_no_subject_has_no_stimuli_that_could_be_uncounted(nsd):
    plan = [*shards_of_recon(), watch.Job("report", "", "", "results/benchmarks/report.tsv", "mem_mb=1, gpu=0")]
    made = estimate.Estimate(settings(), plan)
    assert "not counted yet" not in "\n".join(estimate.lines(estimate.needs(made, plan), 2, False, made.guessed))


def test_stimuli_that_nobody_has_counted_are_bounded_by_shards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = [*shards_of_recon(), job("features_shard", feature="vdvae", split="test", span="00000-03000")]
    made = estimate.Estimate(settings(), plan)
    found = estimate.needs(made, plan)
    assert found["features"].cpu[0] == pytest.approx(1024 * 1.02 + 12.0)  # 16 shards of 64
    assert "The stimuli of sub01 are not counted yet" in "\n".join(estimate.lines(found, 2, False, made.guessed))


def test_demo_is_near_what_it_took(tmp_path, monkeypatch):
    """Processor time of the demo's jobs as its tables had it, which miss some seconds at the end of each."""
    monkeypatch.chdir(tmp_path)  # here are tables of its own
    cfg = settings().model_copy(update={"dataset": "demo"})
    recon = [job("recon_shard", span="00000-00064"), job("recon_shard", span="00064-00128")]
    features = [
        job("features_shard", feature=feature, split=split, span="00000-03000")
        for feature in ("vdvae", "clip_text", "clip_vision")
        for split in ("train", "test")
    ]
    found = estimate.needs(estimate.Estimate(cfg, [*recon, *features]), [*recon, *features])
    assert found["recon"].cpu[0] == pytest.approx(150, rel=0.15)
    assert 54 < found["features"].cpu[0] < 100


def test_every_figure_has_a_source():
    for speeds in estimate.SPEEDS.values():
        assert all(speed.source and speed.basis in ("measured", "estimate") for speed in speeds.values())
    hours = 139 * 2  # of cores, docs/real_data.md
    assert estimate.GPU == (hours / 2, hours / 0.5)


def test_the_command_on_a_finished_toy(finished):
    command = [
        sys.executable,
        "-m",
        "brain_diffuser.estimate",
        "--cores",
        "2",
        "--forceall",
        "--",
        "results/sub01/recon",
    ]
    found = subprocess.run(command, cwd=finished, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("recon ")]
    assert line.endswith("measured here")
    assert "No figure" not in found.stdout
    assert resource_usage.as_size(24 * 425 * 425 * 3) in found.stdout
