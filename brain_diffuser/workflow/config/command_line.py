"""The sources of the configuration that the command line of a run names: files, arguments and profiles."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakemake.cli import get_profile_dir

from brain_diffuser.workflow.config import sources, yaml_file
from brain_diffuser.workflow.config.yaml_file import Place

FILE_OPTIONS = ("--configfile", "--configfiles")
ARGUMENT_OPTIONS = (sources.ARGUMENTS, "-C")
DEFAULT_PROFILE = "default"
CONFIG_SUFFIXES = (".yaml", ".yml", ".json")


def of_run(workflow: Any, command: Sequence[str], standard: Sequence[str]) -> sources.Sources:
    """The sources of the configuration of a run, all of which are read; none for its jobs, which read the plan.

    Parameters
    ----------
    workflow
        Snakemake's object of the run.
    command
        The program and its arguments.
    standard
        Files that the Snakefile is going to read, beside those that it has read already.

    Raises
    ------
    FileNotFoundError or ValueError
        A source cannot be read, or not without doubt.
    """
    if not workflow.is_main_process:
        return sources.Sources()
    settings = workflow.config_settings
    overruling = list(map(str, settings.configfiles))
    files = [str(path) for path in workflow.configfiles if str(path) not in overruling]
    files += [path for path in standard if os.path.lexists(path)]  # else Snakemake says what it lacks
    last = sources.of_arguments(list(settings.config_args or ()))
    if is_snakemake(command):
        check_arguments(command[1:])
        profile = of_profiles(profile_files(command[1:], os.environ, Path(workflow.main_snakefile)))
        if profile and not _values(command[1:], ARGUMENT_OPTIONS):
            last = profile
    return sources.Sources([*map(sources.of_file, [*files, *overruling]), last])


def is_snakemake(command: Sequence[str]) -> bool:
    """Whether a program is Snakemake's, as a command or by python -m."""
    program = Path(command[0])
    return program.name == "snakemake" or program.parts[-2:] == ("snakemake", "__main__.py")


def config_files(arguments: Sequence[str]) -> list[str]:
    """The files of --configfile among the arguments of a run."""
    return _values(arguments, FILE_OPTIONS)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises ValueError: --configfile or --config is given twice, of which Snakemake would heed the last alone."""
    for options in (FILE_OPTIONS, ARGUMENT_OPTIONS):
        _values(arguments, options)


def check_files(paths: Sequence[str | Path]) -> None:
    """Read files before Snakemake does. Raises FileNotFoundError or ValueError: one cannot be read without doubt."""
    for path in paths:
        if Path(path).suffix not in CONFIG_SUFFIXES and not os.path.isfile(path):
            raise ValueError(
                f"--configfile takes {path} for a file of settings, for it stands behind it; write -- before targets"
            )
        sources.of_file(path)


def profile_files(arguments: Sequence[str], environment: Mapping[str, str], snakefile: Path) -> list[Path]:
    """The files of the profiles of a run, later ones overruling; those that are not found are left out.

    Parameters
    ----------
    arguments
        Those of the run, without the name of the program.
    environment
        Its variables, of which SNAKEMAKE_PROFILE counts.
    snakefile
        The main Snakefile, beside which there may be a folder `profiles`.
    """
    general = _each_value(arguments, "--profile") or [environment.get("SNAKEMAKE_PROFILE", "")]
    chosen = (_each_value(arguments, "--workflow-profile") or [DEFAULT_PROFILE])[-1]
    below = Path("profiles", chosen)
    places = [Path(chosen), below, snakefile.parent / below]
    if chosen == DEFAULT_PROFILE and DEFAULT_PROFILE not in arguments:
        places = places[1:]
    names = [*general, *[str(place) for place in places if place.exists()][:1]]
    found = [get_profile_dir(name) for name in names if name not in ("", "none")]
    return [entry[1] for entry in found if entry]


def of_profiles(paths: Sequence[Path]) -> sources.Source | None:
    """The last profile with keys of the configuration, if one has any, and these keys.

    Raises FileNotFoundError or ValueError: a profile cannot be read, or not without doubt.
    """
    found = None
    for path in paths:
        name = sources.shown(path)
        config = yaml_file.read(path, name, takes_words=True).inside.get("config", Place(0))
        if config.kind == "section":
            found = sources.Source(name, config, is_text=True)
    return found


def _values(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """The values of an option, given as `--option A B` or `--option=A`. Raises ValueError: it is given twice."""
    found: list[list[str]] = []
    is_open = False
    for argument in arguments:
        if argument == "--":
            break
        option, _, value = argument.partition("=")
        if option in options:
            found.append([value] if value else [])
            is_open = not value
        elif argument.startswith("-"):
            is_open = False
        elif is_open:
            found[-1].append(argument)
    if len(found) > 1:
        together = " ".join(value for values in found for value in values)
        raise ValueError(
            f"{options[0]} is given {len(found)} times, of which Snakemake heeds the last alone; write it once, "
            f"{options[0]} {together}"
        )
    return found[0] if found else []


def _each_value(arguments: Sequence[str], option: str) -> list[str]:
    """The values of an option that takes one, however often it is given."""
    found = []
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if argument == "--":
            break
        if argument == option:
            found.append(following)
        elif argument.startswith(f"{option}="):
            found.append(argument.partition("=")[2])
    return found
