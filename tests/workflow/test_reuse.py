"""docs/reuse.md, followed: another Snakefile imports the workflow; and what the catalog of workflows reads."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from nsd_tree import toy_ids
from toy_workflow import ROOT, example, snakemake, write_checkout

from brain_diffuser.artifacts import hdf5

PAGE = ROOT / "docs/reuse.md"


@pytest.mark.workflow
def test_another_workflow_imports_this_one_and_brings_its_captions(tmp_path):
    lab = tmp_path / "lab"
    copy = write_checkout(lab / "brain-diffuser-dag")
    shutil.move(copy / "toy", lab / "toy")
    shutil.copy2(copy / "config.yaml", lab / "mine.yaml")
    shutil.copy2(ROOT / "config.yaml", copy / "config.yaml")
    (snakefile,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (lab / "Snakefile").write_text(snakefile)
    captions = {number: [f"drawing {number}"] for number in toy_ids()}
    (lab / "describe.py").write_text(
        f"import pathlib, sys\npathlib.Path(sys.argv[1]).write_text({json.dumps(captions)!r})\n"
    )
    profile = ("--workflow-profile", "brain-diffuser-dag/profiles/default")
    everything = snakemake(lab, "-n", *profile)
    assert everything.returncode == 0, everything.stderr
    assert {"describe", "recon_shard", "shared_features", "report"} <= set(
        re.findall(r"^(\w+) +\d+$", everything.stdout, re.M)
    )
    wanted = "results/sub01/data/captions.json"
    run = snakemake(lab, "--cores", "2", *profile, "--", wanted)
    assert run.returncode == 0, run.stderr
    found = json.loads((lab / wanted).read_text())
    assert found == {str(number): texts for number, texts in captions.items()}
    again = snakemake(lab, "-n", *profile, wanted)
    assert "Nothing to be done" in again.stdout + again.stderr
    renamed = snakefile.replace("* from brain_diffuser", "* from brain_diffuser as decoding_*")
    renamed = renamed.replace("captions from brain_diffuser", "captions from brain_diffuser as decoding_captions")
    (lab / "Snakefile").write_text(renamed)
    other = snakemake(lab, "-n", *profile, "--forceall", "results/sub01/recon")
    assert other.returncode == 0, other.stderr
    assert "decoding_features_shard" in other.stdout
    elsewhere = snakemake(lab, "-n", *profile, "results_lab/sub01/recon", "--config", "results=results_lab")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "results_lab/my_captions.json" in elsewhere.stdout
    assert "results/" not in elsewhere.stdout
    home = snakemake(lab, "-n", *profile, "results_lab/sub01/recon", "--config", "results=~/results_lab")
    assert home.returncode == 1
    assert "--config: results is ~/results_lab; write /" in home.stderr
    config = "    config: config\n"
    (lab / "Snakefile").write_text(snakefile.replace(config, f'{config}    pathvars: results="mine"\n'))
    refused = snakemake(lab, "-n", *profile)
    assert refused.returncode == 1
    assert "the module statement sets the pathvar results to mine, config.yaml to results; leave" in refused.stderr


PREDICTED = "results/sub01/ridge/clip_vision_test.h5"
AFTER_DECODING = {"recon_shard", "recon"}
MY_DECODER = """
import sys
sys.path.insert(0, "brain-diffuser-dag")
from brain_diffuser.artifacts import hdf5
betas, features, test, out = sys.argv[1:]
known, nsd_id = hdf5.load(features).values, hdf5.load(test).nsd_id
hdf5.save(out, known.mean(0, keepdims=True).repeat(len(nsd_id), 0), nsd_id)
"""


@pytest.mark.workflow
def test_a_stage_from_outside_takes_the_place_of_ours(tmp_path):
    """The Snakefile of docs/extend.md, with the toy's configuration, in results that ridge regression has made."""
    lab = tmp_path / "lab"
    copy = write_checkout(lab / "brain-diffuser-dag")
    shutil.move(copy / "toy", lab / "toy")
    with_decoder = example("extend.md", "A stage of your own, from outside", "python")
    without = with_decoder.partition("rule my_decoder:")[0]
    (lab / "my_decoder.py").write_text(MY_DECODER)
    wanted = ("--workflow-profile", "brain-diffuser-dag/profiles/default", "results/sub01/recon")

    def run(snakefile, *options):
        (lab / "Snakefile").write_text(snakefile)
        made = snakemake(lab, "--cores", "2", *options, *wanted)
        assert made.returncode == 0, made.stderr
        again = snakemake(lab, "-n", *wanted)
        assert "Nothing to be done" in again.stdout + again.stderr
        return set(re.findall(r"^(\w+) +\d+$", made.stdout + made.stderr, re.M)) - {"total"}

    run(without)
    ours = (lab / PREDICTED).read_bytes()
    assert run(with_decoder) == AFTER_DECODING | {"my_decoder"}
    made = hdf5.load(lab / PREDICTED).values
    np.testing.assert_array_equal(made, np.broadcast_to(made[0], made.shape))
    (lab / "my_decoder.py").write_text(MY_DECODER.replace(".mean(0, keepdims=True)", "[:1]"))
    assert run(with_decoder, "--forcerun=my_decoder") == AFTER_DECODING | {"my_decoder"}
    assert run(without) == AFTER_DECODING | {"ridge"}
    assert (lab / PREDICTED).read_bytes() == ours


def test_the_catalog_is_told_what_holds():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["report"] is True
    assert usage["software-stack-deployment"] == {"conda": True, "singularity": False, "singularity+conda": False}
    assert (ROOT / "config.paper.yaml").is_file()
    assert "config.paper.yaml" in usage["mandatory-flags"]["desc"]
