"""What a run will take: every planned job counts, speeds of finished jobs are scaled, and the command on a toy."""

import re
import subprocess

import pytest
import yaml
from toy_workflow import ROOT, copy_project, interpreter

from brain_diffuser.models import precisions
from brain_diffuser.workflow import compared, estimate, resource_usage, speeds, watch, work_units
from brain_diffuser.workflow.config import schema

N_TRAIN, N_TEST = 8859, 982
SAFETY = estimate.SAFETY


def settings(dataset="nsd", **changes):
    found = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"dataset": dataset}
    for key, value in changes.items():
        found[key] = found[key] | value if isinstance(value, dict) else value
    found["compute"]["batch_size"] = {"features": 32, "stage1": 16, "recon": 16}
    return schema.Config.model_validate(found)


def job(rule, gpus=0, batch=16, subject="sub01", **wildcards):
    values = ({"subject": subject} if subject else {}) | wildcards
    name = "_".join([rule.removesuffix("_shard"), *(value for key, value in values.items() if key != "subject")])
    words = ", ".join(f"{key}={value}" for key, value in values.items())
    resources = f"mem_mb=1, batch_size={batch}, gpu={gpus}"
    return watch.Job(rule, words, "", f"results/{subject}/benchmarks/{name}.tsv", resources)


@pytest.fixture
def nsd(tmp_path, monkeypatch):
    """A subject whose design is known."""
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "results/sub01/data/stimuli.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("nsd_id\tsplit\n" + "1\ttrain\n" * N_TRAIN + "2\ttest\n" * N_TEST)
    for folder in ("benchmarks", "logs"):
        (tmp_path / "results/sub01" / folder).mkdir()
    return tmp_path


@pytest.fixture(autouse=True)
def processor(tmp_path_factory, monkeypatch):
    """A processor that does not multiply bfloat16; the flags can be written."""
    path = tmp_path_factory.mktemp("machine") / "cpuinfo"
    monkeypatch.setattr(precisions, "CPUINFO", path)
    return path


def need_of(some, **changes):
    return estimate.needs(estimate.Estimate(settings(**changes)), some)


def words_of(some, n_cores=2, **changes):
    made = estimate.Estimate(settings(**changes), n_cores)
    return "\n".join(estimate.lines(made, some))


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
    assert need_of(features, features={"storage": "float32"})["features"].disk == 2 * found["features"].disk
    assert need_of(features, features={"storage": "float32", "keep": False})["features"].disk == 0


def shards_of_recon(gpus=0, batch=16):
    return [job("recon_shard", gpus, batch, span=f"{start:05d}-{start + 64:05d}") for start in range(0, N_TEST, 64)]


def test_time_on_a_cpu_is_that_of_the_table(nsd, processor):
    """An image's autoencoder counts as two steps; the table has 37 steps and the autoencoder of one image."""
    found = need_of(shards_of_recon(), compute={"dtype": "float32"})["recon"]
    assert found.cpu == pytest.approx(SAFETY * (N_TEST * (37 * 26.6 + 34.9) + 16 * 12.0), rel=1e-3)
    assert (found.gpu, found.sources, found.unknown) == (0.0, {"measured"}, set())
    processor.write_text("flags : fpu amx_bf16\n")
    short = need_of(shards_of_recon(), compute={"dtype": "bfloat16"})["recon"]
    assert short.cpu == pytest.approx(SAFETY * (N_TEST * (37 * 8.3 + 17.4) + 16 * 8.0), rel=1e-3)
    assert need_of(shards_of_recon())["recon"].cpu == short.cpu  # what auto stands for there
    processor.write_text("flags : fpu avx512_bf16\n")
    plain = need_of(shards_of_recon(), compute={"dtype": "bfloat16"})["recon"]
    assert plain.cpu == pytest.approx(SAFETY * (N_TEST * (37 * 20.2 + 21.2) + 16 * 8.0), rel=1e-3)


def test_no_gpu_was_measured(nsd):
    plan = shards_of_recon(gpus=1)
    assert need_of(plan)["recon"].unknown == {"recon_shard on a GPU"}
    words = words_of(plan)
    assert "In all at least 0 s of CPU cores" in words
    assert "Nothing like these jobs was measured, and so they are not counted in time: recon_shard on a GPU." in words


USED = (
    "10:00:00 {rule}: used {cpu} CPU-s in 90.0 s, 100 MiB at the peak; {loop} CPU-s in 80.0 s of it for {n} items "
    "and {steps} steps; in {dtype}; subject=sub01, span=00000-00064\n"
)
TABLE = "s\tcpu_time\tresources\n95.0\t0.0\t{{'gpu': {gpus}, 'batch_size': {batch}}}\n"


def write_finished(folder, name="recon_00000-00064", rule="recon_shard", steps=37, dtype="float32", gpus=0, batch=16):
    """A finished job of 64 images, of 70 CPU-seconds, 60 in its loop."""
    benchmark = folder / f"results/sub01/benchmarks/{name}.tsv"
    benchmark.write_text(TABLE.format(gpus=gpus, batch=batch))
    text = USED.format(rule=rule, cpu=70.0, loop=60.0, n=64, steps=64 * steps, dtype=dtype)
    (folder / f"results/sub01/logs/{name}.log").write_text(text)


FLOAT32 = {"compute": {"dtype": "float32"}}


@pytest.mark.parametrize(("before", "now"), [(37, 37), (8, 37), (37, 8)])
def test_own_speeds_are_scaled_by_steps(nsd, before, now):
    """Of a run of 50 steps at strength 0.74, 37 are taken; an image's autoencoder counts as two."""
    write_finished(nsd, steps=before)
    found = need_of(shards_of_recon(), **FLOAT32, recon={"steps": now, "strength": 1.0})["recon"]
    assert found.sources == {"measured here"}
    assert found.cpu == pytest.approx(SAFETY * (16 * 10.0 + N_TEST * 60.0 / 64 * (now + 2) / (before + 2)))


def test_own_speeds_of_another_precision_are_scaled_as_the_table_has_it(nsd, processor):
    processor.write_text("flags : fpu amx_bf16\n")
    write_finished(nsd, dtype="float32")
    found = need_of(shards_of_recon(), compute={"dtype": "bfloat16"})["recon"]
    same = need_of(shards_of_recon(), **FLOAT32)["recon"]
    assert found.sources == {"measured here"}
    assert found.cpu / same.cpu == pytest.approx((37 * 8.3 + 17.4) / (37 * 26.6 + 34.9), rel=0.02)
    gpu = need_of(shards_of_recon(gpus=1), compute={"dtype": "bfloat16"})["recon"]
    assert gpu.unknown == {"recon_shard on a GPU"}  # a CPU's speed is not a GPU's


def test_own_speeds_of_a_gpu_are_not_scaled_to_another_precision(nsd):
    write_finished(nsd, dtype="float16", gpus=1)
    found = need_of(shards_of_recon(gpus=1), compute={"dtype": "float16"})["recon"]
    assert found.gpu == pytest.approx(found.cpu * 95 / 70)
    assert need_of(shards_of_recon(gpus=1), **FLOAT32)["recon"].unknown == {"recon_shard on a GPU"}


def test_smaller_batches_take_no_less(nsd):
    """Where the table does not say what a batch costs, each costs as much as the larger one that was measured."""
    write_finished(nsd, batch=16)
    same = need_of(shards_of_recon(batch=16), **FLOAT32)["recon"].cpu
    assert need_of(shards_of_recon(batch=32), **FLOAT32)["recon"].cpu == same
    assert speeds.at_batch({16: 10.0}, 4) == 40.0
    assert speeds.at_batch({1: 34.0, 16: 4.0}, 2) == pytest.approx(2.0 + 32.0 / 2)  # 2 + 32 / batch
    assert speeds.at_batch({1: 34.0, 16: 4.0}, 32) == 4.0


def test_variants_take_the_speed_of_recon_by_their_steps(nsd):
    write_finished(nsd)
    noise = job("variant_shard", variant="without_vdvae", span="00000-00064")  # all 50 steps
    guided = job("guided_shard", variant="neuraldiffuser", span="00000-00064")
    each = 60.0 / 39
    assert need_of([noise], **FLOAT32)["variants"].cpu == pytest.approx(SAFETY * (10 + each * 52))
    steps = 37 * (1 + 4 * 0.2) + 2  # a guided step counts as five
    (need,) = need_of([guided], **FLOAT32).values()
    assert need.cpu == pytest.approx(SAFETY * (10 + each * steps))


def test_tables_of_short_jobs_alone_are_passed_over(nsd):
    text = "s\tcpu_time\trule_name\twildcards\n{}\t1.0\trecon_shard\t{{'subject': 'sub01', 'span': '00000-00064'}}\n"
    path = nsd / "results/sub01/benchmarks/recon_00000-00064.tsv"
    path.write_text(text.format(20.0))
    assert need_of(shards_of_recon(), **FLOAT32)["recon"].sources == {"measured"}
    path.write_text(text.format(31.0))
    assert need_of(shards_of_recon(), **FLOAT32)["recon"].sources == {"measured here"}


def test_finished_jobs_of_which_the_configuration_says_nothing_are_passed_over(nsd):
    write_finished(nsd, "variant_gone_00000-00064", "guided_shard")
    log = nsd / "results/sub01/logs/variant_gone_00000-00064.log"
    log.write_text(log.read_text().replace("span=", "variant=gone, span="))
    write_finished(nsd, "chosen_recon_shard", "chosen_recon_shard")
    assert need_of(shards_of_recon(), **FLOAT32)["recon"].sources == {"measured"}
    write_finished(nsd)
    (nsd / "results/sub01/data/stimuli.tsv").unlink()
    assert speeds.finished(nsd / "results", estimate.Estimate(settings(**FLOAT32), measured=[]).sizes) == []


def test_speeds_of_another_dataset_do_not_count(nsd):
    write_finished(nsd)
    record = nsd / "results/.dataset.json"
    record.write_text('{"dataset": "demo", "simulated": true, "layout": "nsd", "adapter": "demo"}')
    assert need_of(shards_of_recon(), **FLOAT32)["recon"].sources == {"measured"}


def test_what_is_not_known_is_said(nsd):
    plan = [
        *shards_of_recon(),
        job("variant_shard", variant="neuraldiffuser", span="00000-00064"),
        job("decode", decoder="nearest", feature="vdvae"),
    ]
    words = words_of(plan, **FLOAT32)
    assert "and so they are not counted in time: decode." in words
    assert re.search(r"^In all at least .* of CPU cores, at least .* by the clock on 2 cores", words, re.M)
    other = settings()
    (nsd / "tiny.json").write_text("{}")
    paths = other.paths.model_copy(update={"vdvae": "tiny.th"})
    unknown = other.model_copy(update={"datasets": other.datasets | {"nsd": paths}})
    found = estimate.needs(estimate.Estimate(unknown), [*plan, job("ridge", feature="vdvae"), job("design")])
    assert found["recon"].unknown == {"recon_shard"}
    assert found["ridge"].unknown == {"ridge"}  # its columns are those of unknown networks
    assert need_of([job("ridge", feature="palette")])["ridge"].unknown == {"ridge"}  # a new feature


def test_downloads_are_counted_in_bytes(nsd):
    plan = [
        job("fetch_nsd", subject="", file="nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"),
        job("fetch_nsd", subject="", file="nsddata_betas/ppdata/subj01/func1pt8mm/b2/betas_session01.hdf5"),
        job("fetch_versatile_diffusion", subject="", component="text_unet"),
        job("fetch_captions", subject=""),
    ]
    found = need_of(plan)["downloads"]
    assert found.disk == 73000 * 425 * 425 * 3 + 81 * 104 * 83 * 1500 + 6_840_000_000 + 365_000_128
    assert (found.jobs, found.unknown) == (4, set())
    assert "are fetched, in 64 min at 100 megabits a second" in words_of(plan)
    unknown = need_of([job("fetch_evaluation_networks", subject="", file="new.pth")])
    assert unknown["downloads"].unknown == {"new.pth"}


def test_what_documents_say_of_downloads_is_in_the_table():
    text = (ROOT / "docs/real_data.md").read_text()
    sizes = estimate.downloads.sizes()
    vd = sum(n for name, n in sizes.items() if name.startswith("versatile_diffusion/"))
    stable = sum(n for name, n in sizes.items() if name.startswith("stable_diffusion/"))
    betas = {number: sizes[f"betas/subj{number:02d}"] * 37 / 1e9 for number in (1, 2, 5, 7)}
    everything = sizes["nsd_stimuli.hdf5"] + sizes["captions"] + sizes["vdvae"] + vd
    networks = [n for name, n in sizes.items() if name.endswith((".pth", ".tar")) and "c27df63c" not in name]
    assert f"| Versatile Diffusion with CLIP | {vd / 1e9:.1f} |" in text
    assert f"scheduler`, {stable / 1e9:.1f} GB" in text
    assert f"| `nsd_stimuli.hdf5`, all subjects | {sizes['nsd_stimuli.hdf5'] / 1e9:.1f} |" in text
    assert f"| betas, 37 sessions of subject 1 | at most {betas[1]:.0f} |" in text
    assert f"subjects 1, 2, 5 and 7 | at most {sum(betas.values()):.0f} |" in text
    assert f"| evaluation networks of the metrics | {sum(networks) / 1e9:.1f} |" in text
    assert f"What is fetched is {(everything + sum(networks)) / 1e9 + betas[1]:.0f} GB" in text


def test_stimuli_that_nobody_has_counted_are_those_that_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = settings(fetch={"nsd": True, "accept_nsd_terms": True}, **FLOAT32)
    made = estimate.Estimate(config)
    plan = [job("features_shard", feature="vdvae", split="test", span="00000-03000")]
    found = estimate.needs(made, plan)
    assert found["features"].cpu == pytest.approx(SAFETY * (1000 * 1.02 + 12.0))
    assert "The stimuli of sub01 are not counted yet" in "\n".join(estimate.lines(made, plan))


def test_stimuli_of_own_data_are_those_of_the_trials_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = tmp_path / "data/custom/sub-01/sub-01_trials.tsv"
    trials.parent.mkdir(parents=True)
    rows = [f"{n}\tset/{n % 11}.png\t1\t1\t{n // 11}\t{'train' if n % 11 < 8 else 'test'}" for n in range(22)]
    trials.write_text("\n".join(["onset\tstim_file\tsession\trun\trepeat\tsplit", *rows]) + "\n")
    made = estimate.Estimate(settings("custom", **FLOAT32))
    assert (made.sizes.n_stimuli("sub01", "train"), made.sizes.n_stimuli("sub01", "test")) == (8, 3)
    found = estimate.needs(made, [job("recon_shard", span="00000-00064")])["recon"]
    assert found.cpu == pytest.approx(SAFETY * (3 * (37 * 26.6 + 34.9) + 12.0), rel=1e-3)
    assert not made.sizes.guessed


@pytest.mark.parametrize(("only", "images"), [(3, 16), (17, 32), ([5, 400], 32), ([5], 16)])
def test_chosen_images_count_by_batches(nsd, only, images):
    """They are made at their own places in batches of 16."""
    (need,) = need_of([job("chosen_recon_shard")], **FLOAT32, recon={"only": only}).values()
    assert need.cpu == pytest.approx(SAFETY * (images * (37 * 26.6 + 34.9) + 12.0), rel=1e-3)


def test_keys_that_shorten_the_run_are_named(nsd, processor):
    processor.write_text("flags : fpu amx_bf16\n")
    words = words_of([*shards_of_recon(), job("report", subject="")], **FLOAT32)
    (line,) = [line for line in words.splitlines() if line.startswith("These keys would save most")]
    named = re.findall(r"(\w+\.\w+): \w+ \(([\d.]+) h\)", line)
    assert [key for key, _ in named] == ["recon.only", "compute.dtype", "recon.steps"]
    hours = [float(number) for _, number in named]
    assert hours[2] == pytest.approx(SAFETY * N_TEST * 19 * (37 * 26.6 + 34.9) / 39 / 3600, rel=0.01)
    assert hours == sorted(hours, reverse=True)


def test_the_clock_waits_for_what_a_job_reads():
    first = watch.Job("a", "", "", "", "", "1", "", "x")
    second = watch.Job("b", "", "", "", "", "8", "x", "y")
    alone = watch.Job("c", "", "", "", "gpu=1", "1", "", "z")
    timed = [estimate.schedule.Timed(each, seconds) for each, seconds in ((first, 10), (second, 20), (alone, 25))]
    overhead = estimate.schedule.BEGIN
    each = estimate.schedule.EACH
    assert estimate.schedule.clock(timed, 1) == pytest.approx(overhead + 55 + 3 * each)
    assert estimate.schedule.clock(timed, 2) == pytest.approx(overhead + 45 + 2 * each)  # b takes both cores
    assert estimate.schedule.clock(timed, 16) == pytest.approx(overhead + 30 + 2 * each)


def test_a_speed_is_below_no_measurement():
    def measured(units, cpu, loop=0.0):
        return speeds.Measurement(speeds.Work("r", "", "", "", 0, units), cpu, loop)

    line = speeds.fit([measured(10, 3.0), measured(100, 12.0), measured(50, 8.0)])
    assert (line.each, line.fixed) == (pytest.approx(0.1), pytest.approx(3.0))
    assert speeds.fit([measured(10, 5.0, 4.0)]).seconds(20) == pytest.approx(9.0)
    alone = speeds.fit([measured(10, 5.0)])  # nothing says what of it grows with the units
    assert (alone.seconds(5), alone.seconds(20)) == (5.0, 10.0)


def test_every_figure_has_a_source():
    found = speeds.shipped()
    assert len(found) > 50
    assert all(each.source and each.cpu >= each.loop >= 0 and each.jobs > 0 for each in found)
    lines = speeds.TABLE.read_text().splitlines()
    assert lines[0] == "\t".join(speeds.COLUMNS)
    assert len({line.split("\t")[:6].__str__() + line.split("\t")[9] for line in lines[1:]}) == len(lines) - 1


def run_estimate(folder, *arguments):
    command = [interpreter(), "-m", "brain_diffuser.estimate", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_command_on_a_finished_toy(finished):
    found = run_estimate(finished, "--forceall", "--", "results/sub01/recon")
    assert found.returncode == 0, found.stderr
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("recon ")]
    assert line.endswith("measured here")
    assert "Nothing like" not in found.stdout
    assert resource_usage.as_size(24 * (425 * 425 * 3 + 15724 * 4)) in found.stdout  # stimuli and betas, at most


def test_a_finished_toy_is_forecast_from_1_to_1_5_times_what_it_took(finished, monkeypatch):
    monkeypatch.chdir(finished)
    plan = watch.planned(["--forceall"])
    made = estimate.Estimate(estimate.read_config([]))
    taken = {compared.name_of(each): used.cpu for each, used in speeds.finished_jobs(made.results)}
    found = compared.row("all", plan, made, taken)
    assert found.jobs == len(plan) - 1  # all but `all`
    assert found.missing == ()
    assert 1.0 <= found.forecast / found.ran <= 1.5
    counted = estimate.needs(made, plan)
    assert sum(need.jobs for need in counted.values()) == len(plan) - 1
    assert all(need.cpu > 0 and not need.unknown for need in counted.values())


@pytest.mark.workflow
def test_every_rule_of_the_demo_has_a_figure(tmp_path):
    """Nothing that is planned is free: in a folder without results every rule has a speed of the table."""
    checkout = copy_project(tmp_path / "checkout", "tests")
    targets = [
        f"results/sub01/{name}" for name in ("ablations", "guidance", "roi", "consistency", "variants/draft/recon")
    ]
    found = run_estimate(checkout, "--", "results/report.html", *targets)
    assert found.returncode == 0, found.stderr
    assert "Nothing like these jobs was measured" not in found.stdout
    assert "In all about" in found.stdout


def test_every_rule_has_a_speed_or_is_named_here():
    """A rule without one is said to be missing in the sum."""
    text = "\n".join(path.read_text() for path in (ROOT / "rules").rglob("*.smk"))
    rules = set(re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)[ :]", text, re.M))
    measured = {each.work.rule for each in speeds.shipped()}
    without = {rule for rule in rules if work_units.SAME.get(rule, rule) not in measured}
    downloads = {rule for rule in without if rule.startswith("fetch_")}
    assert without - downloads - {*estimate.NO_WORK} == {*("bold5000", "decode", "haxby_stimuli", "identification")}
    assert {*work_units.UNITS} <= {work_units.SAME.get(rule, rule) for rule in rules}


@pytest.mark.parametrize("arguments", [("--megabits", "0"), ("--cores", "two")])
def test_wrong_arguments_are_one_sentence(finished, arguments):
    found = run_estimate(finished, *arguments)
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert "expected" in found.stderr


def test_snakemake_estimate_shows_the_same(finished):
    command = [interpreter(), "-m", "snakemake", "--cores", "2", "--forceall", "estimate"]
    found = subprocess.run(command, cwd=finished, capture_output=True, text=True, check=False)
    assert found.stdout == run_estimate(finished, "--forceall").stdout


def test_finished_jobs_are_lines_of_the_table(finished):
    command = [interpreter(), "-m", "brain_diffuser.speeds", "--source", "this machine"]
    found = subprocess.run(command, cwd=finished, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    header, *lines = (line.split("\t") for line in found.stdout.splitlines())
    assert header == list(speeds.COLUMNS)
    (recon,) = [line for line in lines if line[:2] == ["recon_shard", "versatile_diffusion"]]
    assert recon[3:7] == ["float32", "2", f"{8 * (3 + 2):g}", "1"]  # 8 images of 3 steps, in batches of 2
    assert {line[-1] for line in lines} == {"this machine"}


def test_forecasts_are_shown_beside_what_ran(finished):
    command = [interpreter(), "-m", "brain_diffuser.compared", "--", "results/sub01/stage1", "results/report.html"]
    found = subprocess.run(command, cwd=finished, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    rows = [line for line in found.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| sub01/stage1", "| report.html"]
    assert "stage1_shard (has no forecast)" in found.stdout  # the toy's networks are nobody's
