"""The jobs of the workflow as Snakemake plans them, asked of Snakemake's own interface for programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.api import SnakemakeApi, resolve_snakefile
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

from brain_diffuser.workflow.config import command_line


class PlannedRule(NamedTuple):
    """A rule of the workflow.

    Parameters
    ----------
    name, room
        Its name, and the folder of its rule file.
    outputs
        Patterns of its outputs, with wildcards as {subject}.
    is_producer
        Whether the rule makes a file or folder with a path.
    flags
        Of every pattern what Snakemake knows besides, such as temp and directory.
    """

    name: str
    room: str
    outputs: tuple[str, ...]
    is_producer: Callable[[str], bool]
    flags: Mapping[str, frozenset[str]]


class PlannedJob(NamedTuple):
    """A job as Snakemake would run it: parameters with their names, as `repr` of their values."""

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    params: tuple[tuple[str, str], ...]
    log: str


def plan(
    config: Mapping[str, Any],
    config_files: Sequence[Path],
    choose_targets: Callable[[Sequence[PlannedRule]], Iterable[str]],
) -> list[PlannedJob]:
    """All jobs that lead to some targets, whether or not they have to run; nothing is run and nothing is written.

    Parameters
    ----------
    config
        Keys of the configuration that are set in addition, as with --config.
    config_files
        As with --configfile.
    choose_targets
        Chooses the targets when it is given all rules.

    Raises
    ------
    SystemExit
        The workflow refuses its configuration or lacks files.
    FileNotFoundError or ValueError
        A file cannot be read, or Snakemake cannot plan.
    """
    command_line.check_files(config_files)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        snakefile = resolve_snakefile(None)
        settings = ConfigSettings(config=dict(config), configfiles=list(config_files))
        interface = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=settings,
            snakefile=snakefile,
            workdir=Path.cwd(),
        )
        workflow = interface._workflow
        targets = set(choose_targets([_rule(each) for each in workflow.rules]))
        if not targets:
            return []
        interface.dag(DAGSettings(targets=targets)).execute_workflow(executor="dryrun")
        return [_job(each) for each in workflow.dag.jobs]  # pyright: ignore[reportOptionalMemberAccess]


def _rule(rule: Any) -> PlannedRule:
    flags = {str(each): frozenset(getattr(each, "flags", {})) for each in rule.output}
    room = Path(str(rule.snakefile)).parent.name
    return PlannedRule(rule.name, room, tuple(map(str, rule.output)), rule.is_producer, flags)


def _job(job: Any) -> PlannedJob:
    return PlannedJob(
        job.rule.name,
        tuple(map(str, job.output)),
        tuple(map(str, job.input)),
        tuple((name or "", repr(value)) for name, value in job.params.items()),
        next(map(str, job.log), ""),
    )
