"""What every rule uses: the checked configuration, and the keys that decide when a job runs again."""

import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(ROOT))  # job scripts inherit this search path

from brain_diffuser import config as configuration
from brain_diffuser import sessions
from brain_diffuser.provenance import code_key, stage_config
from demo import world


@contextmanager
def one_sentence():
    """Stop before any job with an error's own words, without where in the program it came from."""
    try:
        yield
    except (ValueError, OSError) as error:
        sys.exit(str(error))


with one_sentence():
    cfg = configuration.read(config, Path.cwd())

SETTINGS = cfg.model_dump()
FEATURES = tuple(SETTINGS["ridge"]["alpha"])
# A job with networks takes one of the profile's GPUs; where there is none, jobs share the cores instead.
GPU = int(
    cfg.compute.device == "cuda"
    or (cfg.compute.device == "auto" and shutil.which("nvidia-smi") is not None)
)


wildcard_constraints:
    subject=r"sub0[1-8]",
    number=r"0[1-8]",
    feature="|".join(FEATURES),
    split="train|test",


def settings(*keys):
    """The part of config.yaml that a job's result depends on, in canonical form."""
    return stage_config(SETTINGS, *keys)


def code(script):
    """A key of a workflow script and of every project module that it reaches."""
    return code_key(ROOT / "workflow_scripts" / script, ROOT)


def where_the_pictures_are():
    """One line for each subject that has something to look at."""
    for subject in cfg.subjects:
        folder = Path("results", subject)
        made = [
            folder / name
            for name in ("recon", "contact_sheet.png", "metrics/metrics.tsv")
        ]
        if made[0].is_dir():
            yield f"{subject}: pictures in {', '.join(str(path) for path in made if path.exists())}"
