"""What raters' answers say: shares correct, tests, catch trials, and agreement with each metric.

    python -m brain_diffuser.ratings FILE ... [--kit results/sub01/rating] [--scores FILE] [--catch 0.8] [--out FOLDER]

Each FILE was downloaded from the page of the kit, `rating.html`. docs/rating.md says what is computed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.evaluation import rating_trials, ratings
from brain_diffuser.workflow import tables_of_commands

SUMMARY = (__doc__ or "").partition("\n")[0]
WRITTEN = ("raters.csv", "stimuli.csv", "agreement.csv", "ratings.md")
TRIALS = "trials.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser("python -m brain_diffuser.ratings", description=SUMMARY, allow_abbrev=False)
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers that the page gave out")
    parser.add_argument("--kit", default="results/sub01/rating", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument(
        "--scores",
        metavar="FILE",
        help="a table of nsd_id and metrics; default: metrics/per_image_{images}.csv beside it",
    )
    parser.add_argument(
        "--catch", type=float, default=0.8, metavar="SHARE", help="of catch trials, to pass; default: %(default)g"
    )
    parser.add_argument("--permutations", type=int, default=10000, metavar="N", help="default: %(default)d")
    parser.add_argument("--seed", type=int, default=0, help="of permutations and resamples; default: %(default)d")
    parser.add_argument("--out", metavar="FOLDER", help="where tables are written; default: KIT_answers")
    options = parser.parse_args(arguments)
    kit_folder = Path(options.kit)
    out = Path(options.out or f"{kit_folder}_answers")
    try:
        if not 0 <= options.catch <= 1:
            raise ValueError(f"--catch is {options.catch:g}; expected a share from 0 to 1")
        if options.permutations < 19:
            raise ValueError(f"--permutations is {options.permutations}; expected at least 19")
        tables_of_commands.check_folder(out, WRITTEN)
        text = analyse(
            kit_folder, options.files, options.scores, out, options.catch, options.permutations, options.seed
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{system_faults.message(error)}\n")
        return 1
    sys.stdout.write(f"{text}\nTables are in {out}.\n")
    return 0


def analyse(
    kit_folder: Path,
    files: Sequence[str],
    scores: str | None,
    out: Path,
    catch: float,
    permutations: int,
    seed: int,
) -> str:
    """Write the tables; the text of the one for reading.

    Parameters
    ----------
    kit_folder : path
        With the table of trials.
    files : paths
        Answers.
    scores : path, optional
        Scores of the rated images; those beside the kit if there are some.
    out : path
        The folder to write.
    catch : float
        Share of catch trials that a rater has to answer correctly.
    permutations, seed : int
        Of the tests.
    """
    kit = rating_trials.read(kit_folder / TRIALS)
    answers = ratings.read(files, kit)
    raters = ratings.of_raters(answers, catch)
    passed = ratings.names_of_passed(raters)
    stimuli = ratings.of_stimuli([each for each in answers if each.rater in passed])
    beside = [
        kit_folder.parent / folder / f"per_image_{kit.images}.csv"
        for folder in ("metrics", "ablations", "neuraldiffuser")
    ]
    found = Path(scores) if scores else next((path for path in beside if path.is_file()), None)
    metrics = ratings.agreement(stimuli, found, permutations, seed) if found and stimuli else []
    together = ratings.pooled(len(passed) if stimuli else 0, stimuli, permutations, seed)
    with hdf5.atomic(out) as folder:
        folder.mkdir(parents=True)
        return ratings.write(folder, kit, raters, stimuli, metrics, together, catch)
