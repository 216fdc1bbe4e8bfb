"""Targets of a run, checked before Snakemake looks for rules: a file of no subject or variant is one sentence."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.features.registry import FEATURES
from brain_diffuser.workflow import renamed
from brain_diffuser.workflow.config.variants import variant_regex

SUBJECT = r"^[A-Za-z][A-Za-z0-9]*$"
OF_SPLIT = r"([A-Za-z][A-Za-z0-9]*)_[a-z][a-z0-9_]*"
"""The folder of a subject's further split or test set."""
IN_OUTPUT = r"\{%s(?:,(?:[^{}]|\{[^{}]*\})*)?\}"
"""A name in a rule's output, with the pattern that it keeps to."""
NOT_SUBJECTS = ("average", "benchmarks", "dataset", "demo", "haxby", "logs", "rehearsal", "shared")
"""Other folders of results."""


def check(target: str, results: str, subjects: Collection[str], variants: Mapping[str, object]) -> None:
    """Check that a file that is asked for belongs to the folder of results, a subject and a variant.

    Parameters
    ----------
    target
        What Snakemake is asked for; targets of another kind pass.
    results, subjects, variants
        The keys of the configuration.

    Raises
    ------
    ValueError
        The target belongs to none of these, or is the old name of a file or rule.
    """
    old = renamed.target_problem(target, results)
    if old:
        raise ValueError(old)
    root, path = Path(results), Path(target)
    inside = path.relative_to(root).parts if path.is_relative_to(root) else ()
    _check_folder(target, results, subjects, is_inside=bool(inside))
    subject, kind, name, *_ = (*inside, "", "", "")
    split = re.fullmatch(OF_SPLIT, subject)
    if split and split[1] in subjects and subject not in subjects:
        similar = get_close_matches(subject, subjects, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "add it to splits or test_sets"
        raise ValueError(f"{target}: {subject} is the folder of no split of config.yaml, and of no test set; {hint}")
    if split and kind == "chosen":
        raise ValueError(f"{target}: images of chosen stimuli are made of the dataset's own split, {split[1]}, alone")
    if not kind or not re.fullmatch(SUBJECT, subject) or subject in NOT_SUBJECTS:
        return
    if subject not in subjects:
        raise ValueError(
            f"{target}: {subject} is not among the subjects of config.yaml, {', '.join(subjects)}; "
            "add it to subjects or ask for one of these"
        )
    if kind == "variants" and name and not re.fullmatch(variant_regex([*variants, ""]), name):
        similar = get_close_matches(name, variants, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "add it to variants"
        raise ValueError(f"{target}: {name} is not among the variants of config.yaml; {hint}")


def check_whole(target: str, is_made: Callable[[str], bool], is_made_folder: Callable[[str], bool]) -> None:
    """Check that a file that is asked for does not lie in a folder that one job makes as a whole.

    Parameters
    ----------
    target
        What Snakemake is asked for.
    is_made, is_made_folder
        Whether some rule makes a path, and whether it makes it as a folder.

    Raises
    ------
    ValueError
        It lies in such a folder, and no rule makes it alone.
    """
    for folder in map(str, Path(target).parents):
        if is_made_folder(folder) and not is_made(target):
            raise ValueError(f"{target} is made together with all of {folder}; ask for that folder")


def check_made(target: str, results: str, is_made: Callable[[str], bool], outputs: Sequence[str]) -> None:
    """Check that a file or folder that is asked for is made by a rule, or is there.

    Parameters
    ----------
    target
        What Snakemake is asked for, in the folder of results.
    results
        The folder of results.
    is_made
        Whether some rule makes a path.
    outputs
        What rules make, with names such as {subject} in braces.

    Raises
    ------
    ValueError
        No rule makes it; the sentence has the output that is most like it.
    """
    path = target.rstrip("/")
    if is_made(path) or Path(path).exists():
        return
    subject = folder_of(path, results)
    of_subject = {re.sub(IN_OUTPUT % "subject", subject, each) for each in outputs}
    known = {re.sub(IN_OUTPUT % "feature", feature, each) for each in of_subject for feature in FEATURES}
    folder = f"{results}/{subject}/" if path.count("/") > results.count("/") + 1 else f"{results}/"
    names = [each.removeprefix(folder) for each in sorted(known) if each.startswith(folder) and "{" not in each]
    similar = get_close_matches(path.removeprefix(folder), names, n=1)
    hint = f"did you mean {folder}{similar[0]}?" if similar else "results/README.md has what rules make"
    raise ValueError(f"{target} is made by no rule; {hint}")


NOT_OF_TEST_SETS = (
    *("ablations", "accuracy", "baselines", "brain", "chosen", "encoding", "feature_identification"),
    *(
        "generalisation",
        "generators",
        "generators_paired",
        "guidance",
        "lesions",
        "neuraldiffuser",
        "optimal",
        "output_dimensions",
        "perturbed",
        "roi",
    ),
    *("similarity", "spurious", "volumes", "weights"),
)
"""What is not made of a test set: it tells of the decoder or of the brain, or needs captions of the stimuli."""
COMPARED = ("features", "references", "perceptual_scores", "metrics", "consistency", "retrieval", "significance")
COMPARED += ("test_set",)
"""What compares with images of the stimuli."""
NEEDS_CAPTIONS = tuple(f"{name}_test.h5" for name, feature in FEATURES.items() if feature.reads == "captions")


def folder_of(target: str, results: str) -> str:
    """The folder of a subject, a split or a test set that a target lies in; empty for others."""
    path = Path(target)
    return path.relative_to(results).parts[0] if path.is_relative_to(results) and path != Path(results) else ""


def check_test_set(
    target: str, results: str, subject: str, oracles: Collection[str], ranked: Collection[str], *, has_words: bool
) -> None:
    """Check that a file of a test set can be made.

    Parameters
    ----------
    target
        What Snakemake is asked for.
    results
        The folder of results.
    subject
        The subject whose decoder is tested.
    oracles
        Variants that are made of the true features of stimuli.
    ranked
        Variants that are decoded from few dimensions of the betas.
    has_words
        Whether the targets are words.

    Raises
    ------
    ValueError
        It would tell nothing of a test set, compare with images that targets do not have, or need captions.
    """
    folder, kind, *others = (*Path(target).relative_to(results).parts, "")
    name = others[0] if others else ""
    if kind == "features" and name in NEEDS_CAPTIONS:
        raise ValueError(
            f"{target}: {folder} is a test set, whose stimuli have no captions; ask for the features of images"
        )
    if kind == "variants" and name in oracles:
        raise ValueError(
            f"{target}: {folder} is a test set, whose stimuli have no captions, and {name} reads their true CLIP-text; "
            "ask for another variant"
        )
    if kind == "variants" and name in ranked:
        raise ValueError(
            f"{target}: {folder} is a test set, and {name} has a rank, which is made of {results}/{subject} alone; ask "
            f"for {results}/{subject}/variants/{name}, or for another variant"
        )
    if has_words and kind in COMPARED:
        raise ValueError(
            f"{target}: the targets of {folder} are words, which have no image to compare reconstructions with; ask "
            f"for {results}/{folder}/recon or {results}/{folder}/contact_sheet.png"
        )
    if kind in NOT_OF_TEST_SETS:
        raise ValueError(
            f"{target}: {folder} is a test set, and {kind} is made of {results}/{subject} alone; ask for "
            f"{results}/{subject}/{kind}, or for {results}/{folder}/test_set"
        )


class Chosen(NamedTuple):
    """Which stimuli a run makes images of, what it makes instead of some targets, and whose images are asked for.

    `subjects` is empty where the configuration chooses the stimuli, of all subjects.
    """

    only: Any
    instead: dict[str, list[str]]
    subjects: tuple[str, ...] = ()


def of_chosen(command: Sequence[str], only: Any, results: str, prefix: str) -> Chosen:
    """What stands for targets that are single images, or sets of images while the configuration chooses stimuli.

    Images of chosen stimuli have a folder of their own, so that `recon` and `stage1` are whole wherever they are.

    Parameters
    ----------
    command
        The arguments of a run, the targets among them.
    only
        `recon.only`, which single images that are asked for overrule.
    results
        The folder of results.
    prefix
        What the names of images begin with.

    Raises ValueError: single images of a variant or a further split, or of different stimuli of several subjects, are
    asked for.
    """
    ids: dict[str, set[int]] = {}
    instead: dict[str, list[str]] = {}
    for target in command:
        inside = Path(target).relative_to(results).parts if Path(target).is_relative_to(results) else ()
        subject, images, name, *_ = (*inside, "", "", "")
        number = re.fullmatch(rf"{re.escape(prefix)}(\d+)\.png", name) if len(inside) == 3 else None
        if images == "variants" and target.endswith(".png"):
            raise ValueError(f"{target}: single images are made of stage1 and recon; ask for {Path(target).parent}")
        if images not in ("stage1", "recon") or (not number and (only == "all" or len(inside) != 2)):
            continue
        if re.fullmatch(OF_SPLIT, subject):
            raise ValueError(
                f"{target}: images of chosen stimuli are made of the dataset's own split alone; ask for "
                f"{results}/{subject}/{images} with recon.only: all"
            )
        if number:
            ids.setdefault(subject, set()).add(int(number[1]))
        instead[target] = [f"<results>/{subject}/chosen/{each}" for each in (images, "contact_sheet.png")]
    if not ids:
        return Chosen(only, instead)
    first, *others = ids.values()
    if any(each != first for each in others):
        raise ValueError(
            f"images of different stimuli of {' and '.join(ids)} are asked for; ask for those of one subject at a time"
        )
    return Chosen(sorted(first), instead, tuple(ids))


def _check_folder(target: str, results: str, subjects: Collection[str], *, is_inside: bool) -> None:
    """Raises ValueError: a target lies in another folder of results."""
    first, second, *others = (*Path(target).parts, "", "")
    if not is_inside and first.startswith("results") and second in subjects:
        meant = Path(results, second, *filter(None, others))
        raise ValueError(
            f"{target} does not lie in {results}, which is results in config.yaml; ask for {meant}, or give "
            "the --configfile whose results are there"
        )
