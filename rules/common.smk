"""What every rule uses: the checked configuration, and the keys that decide when a job runs again."""

import sys
from contextlib import contextmanager
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(ROOT))  # job scripts inherit this search path

from brain_diffuser.config import read_config, stage_keys
from brain_diffuser.provenance import code_key


@contextmanager
def one_sentence():
    """Have Snakemake print an error's own words, without where in the program it came from."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise WorkflowError(str(error)) from None


with one_sentence():
    cfg = read_config(config, source=" + ".join(workflow.configfiles))

FEATURES = tuple(cfg.ridge.alpha.model_dump())
GPU = 0 if cfg.compute.device == "cpu" else 1


wildcard_constraints:
    subject=r"sub0[1-8]",
    number=r"0[1-8]",
    feature="|".join(FEATURES),
    split="train|test",


def keys(*names):
    """The part of the configuration that a job's result depends on."""
    return stage_keys(cfg, *names)


def code(script):
    """A key of a job script and of every project module it imports."""
    return code_key(ROOT / "workflow_scripts" / script, ROOT)


def where_the_pictures_are(folder):
    """One line on what a subject's run has left to look at."""
    pictures = len(list(Path(folder, "recon").glob("*.png")))
    found = [f"{pictures} reconstructions in {folder}/recon"] if pictures else []
    others = (f"{folder}/{name}" for name in ("contact_sheet.png", "metrics/metrics.tsv"))
    return ", ".join([*found, *(path for path in others if Path(path).exists())])
