"""The files of the configuration, read before Snakemake reads config.yaml: nothing in them is lost or misread."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(ROOT))  # job scripts inherit this search path

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow.config import command_line, sources as config_sources

IS_MODULE = Path(workflow.main_snakefile).resolve() != (ROOT / "Snakefile").resolve()


def stop(message):
    """End the run with a message, which names the file and the line of each key that it is about."""
    sys.exit(SOURCES.located(str(message)))


@contextmanager
def exit_with_message():
    """Stop before any job with an error's own words, without where in the program it came from."""
    try:
        yield
    except config_sources.LocatedError as error:
        sys.exit(str(error))
    except (ValueError, OSError) as error:
        stop(system_faults.message(error))


SOURCES = config_sources.Sources()
with exit_with_message():
    SOURCES = command_line.of_run(
        workflow, sys.argv, [] if IS_MODULE else ["config.yaml"]
    )
