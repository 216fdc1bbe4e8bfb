"""What the next run does after something went wrong or was edited, replaced, copied or damaged: jobs are counted."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from toy_workflow import N_TEST, command, digests, edit_config, interpreter, planned, snakemake

from brain_diffuser.workflow import display

RECON = "results/sub01/recon"
OLD = 1_000_000_000  # a date before all others


def record(checkout, path):
    """The file in which Snakemake keeps what it believes of an output."""
    return checkout / ".snakemake/metadata" / base64.urlsafe_b64encode(path.encode()).decode()


def receipt(checkout, path):
    path = checkout / path
    return path.parent / ".receipts" / f"{path.name}.json"


def alter(path):
    """Other content under an older date, as mv, cp -p, rsync -a and git-annex leave it."""
    if path.suffix == ".safetensors":
        save_file({name: each * 1.01 for name, each in load_file(path).items()}, path)
    else:
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        values[1] = 0 if values.ndim == 3 else values[1] + 50
        nib.Nifti1Image(values, image.affine).to_filename(path)
    os.utime(path, (OLD, OLD))


def copy(source, target, *, dates):
    """A checkout as somebody copies it elsewhere: without Snakemake's folder, with new dates or with the old ones."""
    ignored = shutil.ignore_patterns(".snakemake")
    return shutil.copytree(source, target, ignore=ignored, copy_function=shutil.copy2 if dates else shutil.copy)


AFTER_RECON = {"recon"}
AFTER_VDVAE = {"features:vdvae", "ridge:vdvae", "stage1", "recon"}
AFTER_BETAS = {"betas", "ridge_kernel", "ridge:vdvae", "ridge:clip_text", "ridge:clip_vision", "stage1", "recon"}


def test_an_input_replaced_by_an_older_file_is_noticed(checkout):
    """One after the other; what is put back runs nothing, so each plan has the jobs of its own file alone."""
    for pattern, expected in (
        ("toy/vdvae/vdvae.safetensors", AFTER_VDVAE),
        ("toy/nsd/**/roi/nsdgeneral.nii.gz", AFTER_BETAS),
        ("toy/nsd/**/roi/prf-visualrois.nii.gz", AFTER_BETAS),
        ("toy/nsd/**/betas_session02.nii.gz", AFTER_BETAS),
        ("toy/versatile-diffusion/text_unet/*.safetensors", {"recon"}),
    ):
        (path,) = checkout.glob(pattern)
        content, date = path.read_bytes(), path.stat().st_mtime
        alter(path)
        assert planned(checkout, RECON) == expected, pattern
        path.write_bytes(content)
        os.utime(path, (date, date))
    assert planned(checkout, RECON) == set()


def test_a_link_turned_to_other_weights_is_noticed(checkout):
    folder = checkout / "toy/vdvae"
    folder.rename(checkout / "toy/first")
    shutil.copytree(checkout / "toy/first", checkout / "toy/second", copy_function=shutil.copy2)
    folder.symlink_to("first")
    os.utime(folder, (OLD, OLD), follow_symlinks=False)
    assert planned(checkout, RECON) == set()
    alter(checkout / "toy/second/vdvae.safetensors")
    folder.unlink()
    folder.symlink_to("second")
    os.utime(folder, (OLD, OLD), follow_symlinks=False)
    assert planned(checkout, RECON) == AFTER_VDVAE


def test_new_dates_of_the_same_content_run_nothing(checkout):
    """Of sources, of networks, and of artifacts, in a plan that Snakemake would make by dates."""
    for path in [*checkout.glob("toy/**/*"), *checkout.glob("results/**/*.h5"), *checkout.glob(f"{RECON}/*.png")]:
        path.touch()
    assert planned(checkout) == set()
    assert planned(checkout) == set()


@pytest.mark.parametrize("dates", [True, False])
def test_results_copied_without_snakemakes_folder_are_known(finished, tmp_path, dates):
    other = copy(finished, tmp_path / "elsewhere", dates=dates)
    assert planned(other) == set()
    assert planned(other) == set()
    edit_config(other, "recon.guidance_scale", 1.5)
    assert planned(other, RECON) == {"recon"}


def test_a_copy_with_other_weights_is_noticed(finished, tmp_path):
    other = copy(finished, tmp_path / "elsewhere", dates=False)
    alter(other / "toy/vdvae/vdvae.safetensors")
    assert planned(other, RECON) == AFTER_VDVAE


def test_a_job_that_dies_before_its_first_line_has_made_nothing(checkout, monkeypatch):
    """An import fails, as that of a library that a node lacks: Snakemake has recorded the job as done."""
    edit_config(checkout, "recon.guidance_scale", 9.0)
    (checkout / "broken").mkdir()
    (checkout / "broken/torch.py").write_text('raise ImportError("libcublas.so.12: cannot open shared object file")\n')
    monkeypatch.setenv("PYTHONPATH", str(checkout / "broken"))
    assert snakemake(checkout, "--cores", "2", RECON).returncode != 0
    monkeypatch.delenv("PYTHONPATH")
    assert planned(checkout, RECON) == {"recon"}
    edit_config(checkout, "recon.guidance_scale", 2.5)
    assert planned(checkout, RECON) == set()


def damage_note(place, content):
    """Put other content in place of a record or receipt; None takes it away."""
    place.unlink() if content is None else place.write_text(content)


def test_a_damaged_or_lost_record_hides_no_change(checkout):
    """Of the reconstructions, whose setting is another each time, of their shard, and of what they are made from."""
    for number, content in enumerate(("", "{", '{"params": 3}', None)):
        for path in (RECON, "results/sub01/shards/recon/00000-00064.h5", "results/sub01/stage1"):
            damage_note(record(checkout, path), content)
        if number == 0:
            assert planned(checkout) == set()
        edit_config(checkout, "recon.guidance_scale", 3.5 + number)
        assert planned(checkout, RECON) == {"recon"}


def test_a_damaged_or_lost_receipt_is_no_error(checkout):
    damaged = {"ridge/vdvae_test.h5": "", "stage1": "{", "ridge/clip_text_test.h5": "[]", "ridge/kernel.h5": None}
    for name, content in damaged.items():
        damage_note(receipt(checkout, f"results/sub01/{name}"), content)
    assert planned(checkout) == set()


def test_an_altered_artifact_is_made_again(checkout):
    ridge, image = checkout / "results/sub01/ridge/vdvae_test.h5", next((checkout / RECON).glob("*.png"))
    sound = ridge.read_bytes()
    ridge.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    os.utime(ridge, (OLD, OLD))
    assert planned(checkout, RECON) == {"ridge:vdvae", "stage1", "recon"}
    ridge.write_bytes(sound)
    assert planned(checkout, RECON) == set()
    content = image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert planned(checkout, RECON) == {"recon"}
    image.unlink()
    assert planned(checkout, RECON) == {"recon"}
    image.write_bytes(content)
    assert planned(checkout, RECON) == set()
    (image.parent / "nsd00000.png").write_bytes(content)
    assert planned(checkout, RECON) == {"recon"}


def verify(checkout, *arguments):
    return subprocess.run(
        [interpreter(), "-m", "brain_diffuser.verify", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
    )


def test_verify_names_what_dates_and_sizes_do_not_show(checkout):
    found = verify(checkout)
    assert found.returncode == 0, found.stdout
    assert "No differences." in found.stdout
    damaged = {
        next((checkout / RECON).glob("*.png")): "recon",
        checkout / "results/sub01/metrics/scores.csv": "metrics",
        checkout / "results/sub01/ridge/kernel.h5": "ridge_kernel",
    }
    sound = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in damaged}
    for path, (content, date) in sound.items():
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(date, date))
    assert planned(checkout) == set()
    found = verify(checkout, "results")
    assert found.returncode == 1
    *lines, last = found.stdout.splitlines()
    assert sorted(re.findall(r"\(stage (\w+)\): the content", found.stdout)) == sorted(damaged.values())
    assert all("snakemake --cores all --forcerun results/sub01" in line for line in lines)
    assert len(lines) == 3
    assert last.endswith("3 differences.")
    for path, (content, date) in sound.items():
        path.write_bytes(content)
        os.utime(path, ns=(date, date))
    moved = checkout.rename(checkout.with_name("moved_again"))
    assert verify(moved).returncode == 0


def test_touch_declares_artifacts_valid_and_says_so(checkout):
    edit_config(checkout, "recon.guidance_scale", 1.5)
    assert snakemake(checkout, "--cores", "1", "--touch").returncode == 0
    assert planned(checkout) == set()
    assert "declared valid by snakemake --touch" in verify(checkout).stdout
    edit_config(checkout, "recon.guidance_scale", 2.5)
    assert planned(checkout, RECON) == {"recon"}


def test_cleanup_of_metadata_hides_no_change(checkout):
    edit_config(checkout, "recon.guidance_scale", 1.5)
    paths = [RECON, "results/sub01/recon_manifest.tsv", "results/sub01/shards/recon/00000-00064.h5"]
    assert snakemake(checkout, "--cleanup-metadata", *paths).returncode == 0
    assert planned(checkout, RECON) == {"recon"}


def test_a_shard_made_again_alone_is_what_it_was(checkout):
    shard = "results/sub01/shards/recon/00000-00064.h5"
    run = snakemake(checkout, "--cores", "2", "--notemp", shard)
    assert run.returncode == 0, run.stderr
    assert planned(checkout) == set()


def test_code_edited_while_a_run_is_on_is_noticed_when_it_is_edited_back(checkout):
    ridge = checkout / "brain_diffuser/decoding/ridge_solution.py"
    sound = ridge.read_text()
    target = "results/sub01/ridge/vdvae_test.h5"
    with open(checkout / "run.log", "w") as log:
        run = subprocess.Popen(
            command(display.ALL_OUTPUT, "--cores", "1", "--forcerun", "betas", "--", target),
            cwd=checkout,
            stdout=log,
            stderr=log,
        )
        while "rule betas" not in (checkout / "run.log").read_text():
            assert run.poll() is None
            time.sleep(0.05)
        # what is predicted, doubled
        ridge.write_text(sound.replace("rows[: len(test)] = solve", "rows[: len(test)] = 2 * solve"))
        assert run.wait() == 0
    assert ridge.read_text() != sound
    ridge.write_text(sound)
    assert planned(checkout, target) == {"ridge:vdvae"} | ({"ridge_kernel"} & planned(checkout, target))


def test_an_orphan_that_overwrites_what_a_later_run_has_made_is_noticed(checkout):
    """Snakemake is killed, its job goes on; the next run has another setting, and ends before the orphan does."""
    edit_config(checkout, "recon.steps", 60)
    run = subprocess.Popen(
        command("--cores", "1", RECON), cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    shard = checkout / "results/sub01/shards/recon/00000-00064.h5"
    while not list(shard.parent.glob("*.part-*")):
        assert run.poll() is None
        time.sleep(0.02)
    (orphan,) = _children(run.pid)
    os.kill(orphan, signal.SIGSTOP)
    run.send_signal(signal.SIGKILL)
    run.wait()
    edit_config(checkout, "recon.steps", 2)
    assert snakemake(checkout, "--unlock").returncode == 0
    again = snakemake(checkout, "--cores", "2", "--notemp", RECON)
    assert again.returncode == 0, again.stderr
    right = digests(checkout / RECON)
    assert len(right) == N_TEST + 1
    partial = shard.with_name(f"{shard.name}.part-{orphan}")
    assert not partial.exists()  # the second run has removed what the orphan was writing
    os.kill(orphan, signal.SIGCONT)
    _wait(orphan)
    assert planned(checkout, RECON) <= {"recon"}
    assert snakemake(checkout, "--cores", "2", RECON).returncode == 0
    assert digests(checkout / RECON) == right


def _children(pid):
    """Processes that compute, below one that started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += _children(int(path.parent.name)) or [int(path.parent.name)]
    return found


def _wait(pid, seconds=240):
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and _state(pid) not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_a_receipt_holds_what_made_its_artifact_and_no_path_of_this_machine(finished):
    found = [path.read_text() for path in finished.glob("results/**/.receipts/*.json")]
    assert len(found) > 60
    assert not [text for text in found if str(finished) in text]
    about = json.loads(receipt(finished, "results/sub01/ridge/vdvae_test.h5").read_text())
    assert about["rule"] == "ridge"
    assert about["dataset"] == "toy"
    assert dict(about["params"])["cfg"] == "{'alpha': 3000.0, 'rescale': 'train_oof'}"
    assert set(about["inputs"]) == {"<results>/sub01/ridge/kernel.h5", "<results>/sub01/features/vdvae_train.h5"}
    assert about["versions"]["numpy"] == np.__version__


def test_snakemake_records_the_parameters_that_jobs_see(finished):
    """Every parameter has a name and follows from the wildcards alone, so that receipts can stand for records."""
    for path in finished.glob("results/**/.receipts/*.json"):
        about = json.loads(path.read_text())
        recorded = json.loads(record(finished, about["output"].replace("<results>", "results")).read_text())
        assert recorded["params"] == sorted(value for _, value in about["params"])
