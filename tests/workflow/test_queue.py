"""Jobs that wait in a scheduler's queue compute what was planned, whatever happens to config.yaml meanwhile."""

import shutil
import subprocess
import time

from toy_workflow import N_TEST, command, digests, edit_config, planned, snakemake

RECON = "results/sub01/recon"
# A scheduler of two commands: a job waits until the file `go` is there.
SUBMIT = """#!/bin/sh
(while [ ! -e {folder}/go ]; do sleep 0.1; done
 sh "$1" > {folder}/$$.log 2>&1; echo $? > {folder}/$$.rc) > /dev/null 2>&1 &
touch {folder}/submitted
echo $$
"""
STATUS = """#!/bin/sh
[ -e {folder}/$1.rc ] || {{ echo running; exit; }}
[ "$(cat {folder}/$1.rc)" = 0 ] && echo success || echo failed
"""


def test_a_configuration_edited_while_jobs_wait_changes_none_of_them(finished, checkout, tmp_path):
    queue = tmp_path / "queue"
    queue.mkdir()
    for name, text in (("submit", SUBMIT), ("status", STATUS)):
        (queue / name).write_text(text.format(folder=queue))
        (queue / name).chmod(0o755)
    edit_config(checkout, "recon.guidance_scale", 1.0)
    arguments = ["--executor", "cluster-generic", "--jobs", "2", "--latency-wait", "5"]
    arguments += ["--cluster-generic-submit-cmd", str(queue / "submit")]
    arguments += ["--cluster-generic-status-cmd", str(queue / "status")]
    with open(tmp_path / "run.log", "w") as log:
        run = subprocess.Popen(command(*arguments, "--", RECON), cwd=checkout, stdout=log, stderr=log)
        while not (queue / "submitted").exists():
            assert run.poll() is None, (tmp_path / "run.log").read_text()
            time.sleep(0.1)
        edit_config(checkout, "recon.guidance_scale", 7.5)
        (queue / "go").touch()
        assert run.wait() == 0, (tmp_path / "run.log").read_text()
    assert planned(checkout, RECON) == {"recon"}  # of the setting that is there now
    edit_config(checkout, "recon.guidance_scale", 1.0)
    assert planned(checkout, RECON) == set()
    other = shutil.copytree(finished, tmp_path / "local", copy_function=shutil.copy2)
    edit_config(other, "recon.guidance_scale", 1.0)
    assert snakemake(other, "--cores", "2", RECON).returncode == 0
    made, expected = (sorted(digests(root / RECON).values()) for root in (checkout, other))
    assert len(made) == N_TEST + 1
    assert made == expected
