"""Scores of images that any program made: every metric of the workflow for a folder of reconstructions.

    python -m brain_diffuser.score_images --images DIR [--subject sub01] [--protocol brain_diffuser mindeye] [...]

Images are named by their stimuli. They are compared with the test stimuli of the configured dataset, or with those of
--stimuli, a stimuli_test.h5 or a folder of images, for which no other file of a dataset is needed. Nothing runs but
this command; it changes nothing in the folder of results. docs/score_images.md has examples.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.data import custom
from brain_diffuser.evaluation import external_scores, matching, registry, scores
from brain_diffuser.reporting import external_scores as external_page
from brain_diffuser.workflow import estimate, tables_of_commands
from brain_diffuser.workflow.config import command_line, schema

SUMMARY = (__doc__ or "").partition("\n")[0]
WRITTEN = ("scores.csv", "identification.csv", "significance.csv", "per_image.csv", "scores.md")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser("python -m brain_diffuser.score_images", description=SUMMARY, allow_abbrev=False)
    made.add_argument("--images", required=True, metavar="DIR", help="the folder of images, PNG, JPEG or others")
    made.add_argument("--subject", help="whose test stimuli they are; default: the first of the configuration")
    made.add_argument(
        "--stimuli", metavar="PATH", help="a stimuli_test.h5, or a folder of the stimuli with the same names"
    )
    made.add_argument("--protocol", nargs="+", choices=registry.PROTOCOLS, default=[*registry.PROTOCOLS])
    made.add_argument(
        "--names",
        choices=tuple(matching.WAYS),
        default="id",
        help="what a file's name says: the id of its stimulus as in our tables, NSD's own id from 1, its place from 0 "
        "in the order of the test set, or in the order of ids; default: %(default)s",
    )
    made.add_argument(
        "--table", metavar="FILE", help="a .tsv or .csv with columns file and stimulus, in place of names"
    )
    made.add_argument("--networks", nargs="*", metavar="NAME", help="in place of metrics.networks of the configuration")
    made.add_argument("--out", metavar="FOLDER", help="where tables are written; default: DIR_scores")
    made.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    made.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as for snakemake")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given)
    try:
        command_line.check_arguments(given)
        cfg = estimate.read_values(options.configfile, options.config)
        folder = Path(options.images)
        out = Path(options.out or f"{folder}_scores")
        tables_of_commands.check_folder(out, WRITTEN)
        networks = check_networks(cfg, options.protocol, options.networks)
        stimuli = read_stimuli(cfg, options.subject, options.stimuli)
        table = Path(options.table) if options.table else None
        matched = matching.load(folder, stimuli, options.names, table)
        for note in matched.notes:
            sys.stderr.write(f"{note}\n")
        _write(cfg, out, folder.resolve().name, stimuli, matched, options.protocol, networks, options.stimuli)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{system_faults.message(error)}\n")
        return 1
    sys.stdout.write(f"Scores of {len(matched.rows)} images are in {out / 'scores.md'}.\n")
    return 0


def check_networks(cfg: schema.Config, protocols: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """The evaluation networks, all of whose files and packages are there.

    Raises ValueError: a name is unknown. FileNotFoundError: files or a package are missing.
    """
    chosen = [*cfg.metrics.networks] if names is None else [*names]
    for name in chosen:
        if name not in registry.selectable():
            raise ValueError(f"--networks has {name}; expected some of {', '.join(registry.selectable())}")
        for protocol in protocols:
            paths = registry.network_files(name, protocol, cfg.paths.evaluation_networks, cfg.paths.clip)
            wrong = registry.package_problem(name) or registry.file_problem(name, paths)
            if wrong:
                raise FileNotFoundError(f"{wrong}; or name others with --networks, such as efficientnet_lite0")
    return chosen


def read_stimuli(cfg: schema.Config, subject: str | None, path: str | None) -> matching.Stimuli:
    """The test stimuli of a subject of the configuration, or those of a path.

    Raises ValueError or FileNotFoundError: there are none.
    """
    if path:
        if not Path(path).exists():
            raise FileNotFoundError(
                f"--stimuli is {path}, which does not exist; name a stimuli_test.h5 or a folder of the stimuli"
            )
        return matching.of_folder(path) if Path(path).is_dir() else matching.of_artifact(path)
    subject = subject or cfg.subjects[0]
    known = [*cfg.subjects, *cfg.split_folders]
    if subject not in known:
        raise ValueError(f"--subject is {subject}; expected one of the configuration's, {', '.join(known)}")
    stored, names = (Path(cfg.results, subject, "data", name) for name in ("stimuli_test.h5", custom.STIM_FILES))
    if not stored.is_file():
        raise FileNotFoundError(
            f"{stored} is missing; make it with snakemake --cores all -- {stored}, or name stimuli with --stimuli"
        )
    return matching.of_artifact(stored, names if names.is_file() else "")


def _write(
    cfg: schema.Config,
    out: Path,
    name: str,
    stimuli: matching.Stimuli,
    matched: matching.Matched,
    protocols: Sequence[str],
    networks: Sequence[str],
    foreign: str | None,
) -> None:
    """Compute all scores and write the tables."""
    settings = external_scores.Settings(
        cfg.metrics.bootstrap,
        cfg.metrics.control_seed,
        cfg.significance.permutations,
        cfg.significance.pairings,
        cfg.significance.seed,
    )
    scorers = [registry.ALWAYS, *networks]
    scored, rows = {}, []
    for protocol in dict.fromkeys(protocols):
        compute = _computing(cfg, protocol)
        scored[protocol] = external_scores.score(name, stimuli.images, matched, scorers, protocol, compute, settings)
        of_set = {name: scores.ImageScores(stimuli.nsd_id[matched.rows], scored[protocol].per_image)}
        rows += scores.summarise(
            of_set, protocol=protocol, n_resamples=settings.n_resamples, seed=settings.control_seed
        )
    correction = cfg.significance.correction
    tested = external_scores.tests(name, scored, settings, correction)
    with hdf5.atomic(out) as folder:
        folder.mkdir(parents=True)
        rows_of_images: list[int] = matched.rows.tolist()
        labels = [stimuli.labels[row] for row in rows_of_images]
        external_scores.write(folder, labels, matched.files, scored, rows, tested)
        identified = [row for each in scored.values() for row in each.identification]
        text = external_page.page(
            f"Scores of {name}",
            [*_about(cfg, stimuli, matched, settings, foreign), *matched.notes],
            rows,
            identified,
            tested,
            registry.describe(scorers),
            correction,
        )
        (folder / "scores.md").write_text(text, encoding="utf-8")


def _about(
    cfg: schema.Config,
    stimuli: matching.Stimuli,
    matched: matching.Matched,
    settings: external_scores.Settings,
    foreign: str | None,
) -> Iterator[str]:
    """Sentences on what was compared with what."""
    n = len(stimuli.labels)
    yield f"{len(matched.rows)} images were compared with their stimuli, of {n} test stimuli in {stimuli.source}."
    disclaimer = cfg.paths.custom.disclaimer if cfg.paths.custom else ""
    if not foreign and (cfg.paths.simulated or disclaimer):
        yield f"{cfg.dataset.upper()}: {disclaimer or 'simulated brain, small models; not a scientific result'}."
    yield (
        f"{settings.n_resamples:,} resamples, seed {settings.control_seed}; {settings.n_permutations:,} permutations "
        f"and {settings.pairings} pairings of SSIM, seed {settings.seed}. The evaluation network clip, where it is "
        f"listed, is that of {cfg.paths.clip}."
    )


def _computing(cfg: schema.Config, protocol: str) -> Callable[[str, external_scores.Images], Mapping[str, Any]]:
    """A function that computes the features of an evaluation network, which it loads once."""
    from brain_diffuser.models import devices

    device, _ = devices.choose(cfg.compute.device, "float32")
    loaded: dict[str, Any] = {}

    def compute(network: str, images: external_scores.Images) -> Mapping[str, Any]:
        if network not in loaded:
            loaded.clear()
            loaded[network] = registry.load(network, protocol, cfg.paths.evaluation_networks, cfg.paths.clip, device)
        sys.stderr.write(f"{protocol}: {network}, {len(images)} images\n")
        return external_scores.network_features(loaded[network], images)

    return compute
