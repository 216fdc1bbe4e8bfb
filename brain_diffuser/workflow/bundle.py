"""A folder of results as others can have it: a BIDS derivative and Workflow Run RO-Crate with checksums.

It holds images, scores, settings and receipts, and no betas, stimuli, captions or networks (docs/sharing.md).
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.reporting import methods, model_card
from brain_diffuser.workflow import bids_derivative, receipts, ro_crate

MANIFEST, METADATA = "manifest-sha256.txt", "ro-crate-metadata.json"
WORKFLOW, CONFIG, RECEIPTS = "code/workflow", "code/config.json", "code/receipts"
IMAGES = {"stage1": "stage-1 reconstructions, by the VDVAE", "recon": "reconstructions, by Versatile Diffusion"}
TABLES = ("metrics", "retrieval", "accuracy")
SHARED_ENDINGS = (".csv", ".svg", ".md", ".json")
LEFT_OUT = ("captions.json",)  # captions of stimuli, which are the dataset's
NUMBERS_DEPEND_ON = ("ridge", "stage1", "recon", "features", "metrics")


class Contents(NamedTuple):
    """What a bundle is made from.

    Parameters
    ----------
    results, root : path
        The folder of results, or of local copies of them, and the one whose receipts tell of them.
    subjects : names
    name, license, source : str
    authors : sequence of str
        These four as in the section bundle of config.yaml.
    arrays : paths
        Arrays that are included, `{subject}/features/...` and `{subject}/ridge/...`.
    pages : paths
        The report, the folder of its figures, and contact sheets, where they may be passed on.
    source_files : {path in the bundle's code/workflow: path}
        The program.
    settings : mapping
        The sections of config.yaml, with the chosen dataset alone.
    dataset, adapter, disclaimer, terms : str
        The name of the dataset, how it is read, what it says of itself, and what forbids to pass stimuli on.
    is_simulated : bool
    sessions : {subject: number}
    networks : {evaluation network: kinds of its metrics}
    program : str
        The version of this project.
    """

    results: str
    root: str
    subjects: Sequence[str]
    name: str
    license: str
    source: str
    authors: Sequence[str]
    arrays: Sequence[str]
    pages: Sequence[str]
    source_files: Mapping[str, str]
    settings: Mapping[str, Any]
    dataset: str
    adapter: str
    disclaimer: str
    terms: str
    is_simulated: bool
    sessions: Mapping[str, int]
    networks: Mapping[str, Sequence[str]]
    program: str


def write(out: str | Path, contents: Contents) -> None:
    """Write the bundle, a folder that appears whole or not at all.

    Raises FileNotFoundError, ValueError: a result is missing or is not what was written.
    """
    with hdf5.atomic(out) as folder:
        folder.mkdir(parents=True)
        used = _receipts(contents)
        facts = _facts(contents, used)
        folders = dict(_write_results(folder, contents))
        _write_code(folder, contents, used, facts)
        _write_texts(folder, contents, facts)
        _write_bids(folder, contents, facts)
        sums = dict(checksums(folder))
        crate = _crate(folder, contents, used, facts, sums, folders)
        _write(folder / METADATA, json.dumps(crate, indent=1, ensure_ascii=False))
        sums[METADATA] = _sum(folder / METADATA)
        _write(folder / MANIFEST, "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())))


def checksums(folder: Path) -> Iterator[tuple[str, str]]:
    """(path within it, sha256) of every file of a folder, hidden ones too, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), _sum(path)


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _copy(source: str | Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        shutil.copytree(source, path, ignore=shutil.ignore_patterns(".*"))
    else:
        shutil.copyfile(source, path)


def _receipts(contents: Contents) -> dict[str, receipts.Receipt]:
    """The receipts of all that the bundle's artifacts were made from, one after the other."""
    of_subjects = ("stage1", "recon", *TABLES[:1], "retrieval/retrieval.csv", "accuracy")
    waiting = [f"{receipts.ROOT}{subject}/{each}" for subject in contents.subjects for each in of_subjects]
    waiting += [receipts.name_of(path, contents.results) for path in (*contents.arrays, *contents.pages)]
    found: dict[str, receipts.Receipt] = {}
    while waiting:
        name = waiting.pop()
        receipt = None if name in found else receipts.read(receipts.place(name, contents.root))
        if receipt:
            found[name] = receipt
            waiting += [each for each in receipt.inputs if each.startswith(receipts.ROOT)]
    return dict(sorted(found.items()))


def _facts(contents: Contents, used: Mapping[str, receipts.Receipt]) -> methods.Facts:
    """What methods and model card are written from."""
    versions = {name: counted.most_common(1)[0][0] for name, counted in _versions(used).items()}
    return methods.Facts(
        contents.settings,
        contents.adapter,
        contents.is_simulated,
        contents.disclaimer,
        [methods.subject(Path(contents.results, name), contents.sessions.get(name, 0)) for name in contents.subjects],
        versions,
        contents.program,
        contents.networks,
    )


def _versions(used: Mapping[str, receipts.Receipt]) -> dict[str, Counter[str]]:
    """How many artifacts were made with which version of each software."""
    counted: dict[str, Counter[str]] = {}
    for receipt in used.values():
        for name, version in receipt.versions.items():
            counted.setdefault(name, Counter())[version] += 1
    return dict(sorted(counted.items()))


def _write_results(folder: Path, contents: Contents) -> Iterator[tuple[str, str]]:
    """Copy images, tables and arrays; yields the folders that are described as a whole, with descriptions."""
    for subject in contents.subjects:
        label, source = bids_derivative.label(subject), Path(contents.results, subject)
        for name, description in IMAGES.items():
            place = f"{label}/images/{name}/"
            rows = []
            for file, nsd_id, digest in image_files.read_manifest(source / f"{name}_manifest.tsv"):
                own = f"{label}_stim-{nsd_id:05d}_desc-{name}_image.png"
                _copy(source / name / file, folder / place / own)
                if _sum(folder / place / own) != digest:
                    raise ValueError(
                        f"{source / name / file} is not what was written: its sha256 is not that of its manifest. "
                        f"{hdf5.rerun(source / name / file)}"
                    )
                rows.append((own, nsd_id))
            tables.write_tsv(folder / f"{label}/tables/{label}_desc-{name}_images.tsv", ("file", "stimulus_id"), rows)
            yield place, f"{subject}: {description}, a PNG of each test stimulus"
        for name in TABLES:
            for path in sorted((source / name).iterdir()):
                if path.suffix in SHARED_ENDINGS and path.name not in LEFT_OUT:
                    _copy(path, folder / f"{label}/tables/{name}/{path.name}")
        yield f"{label}/tables/", f"{subject}: scores as tables, their definitions and figures; names of images"
    for path in contents.arrays:
        subject, kind, name = Path(path).parts[-3:]
        label = bids_derivative.label(subject)
        _copy(path, folder / f"{label}/arrays/{kind}/{name}")
    for subject in sorted({Path(path).parts[-3] for path in contents.arrays}):
        yield f"{bids_derivative.label(subject)}/arrays/", f"{subject}: HDF5 arrays, a row for each stimulus"
    for path in contents.pages:
        inside = Path(path).relative_to(contents.results).as_posix().replace("/", "_")
        _copy(path, folder / "docs" / inside)


def _write_code(folder: Path, contents: Contents, used: Mapping[str, receipts.Receipt], facts: methods.Facts) -> None:
    """The program, the settings, the environment and the receipts."""
    for inside, path in contents.source_files.items():
        _copy(path, folder / WORKFLOW / inside)
    _write(folder / CONFIG, json.dumps(_plain(contents.settings), indent=1, ensure_ascii=False))
    counted = _versions(used)
    rows = [
        (name, version, number) for name, versions in counted.items() for version, number in sorted(versions.items())
    ]
    tables.write_tsv(folder / "code/environment.tsv", ("package", "version", "artifacts"), rows)
    for name in used:
        path = receipts.place(name, contents.root)
        inside = path.relative_to(contents.root).as_posix().replace(f"{receipts.FOLDER}/", "")
        _copy(path, folder / RECEIPTS / inside)


def _write_texts(folder: Path, contents: Contents, facts: methods.Facts) -> None:
    _write(folder / "docs/methods.md", methods.text(facts))
    _write(folder / "docs/model_card.md", model_card.text(facts, contents.dataset))
    _write(folder / "README.md", "\n".join(_readme(contents)))


def _readme(contents: Contents) -> Iterator[str]:
    yield f"# {contents.name}\n"
    if contents.is_simulated:
        yield f"**{methods.DEMO}**\n"
    elif contents.disclaimer:
        yield f"**{contents.disclaimer}**\n"
    yield (
        f"Images reconstructed from fMRI responses to the test stimuli of dataset {contents.dataset}, "
        f"{', '.join(map(bids_derivative.label, contents.subjects))}, and their scores, made by brain-diffuser-dag "
        f"{contents.program}. The folder is a BIDS derivative and a Workflow Run RO-Crate.\n"
    )
    yield "| | |\n| --- | --- |"
    rows = {
        "`sub-*/images/`": "stage1 and recon: one PNG for each test stimulus, none selected; `stim-` is the "
        "stimulus' id in the dataset, counted from 0",
        "`sub-*/tables/`": "scores with intervals, beside chance-level controls and ceilings; names of the images",
        **({"`sub-*/arrays/`": "HDF5 arrays: `values` and the `nsd_id` of each row"} if contents.arrays else {}),
        "`docs/methods.md`": "the methods with citations, to paste into a paper",
        "`docs/model_card.md`": "what was trained on what, what it is for, and its limits",
        **(
            {"`docs/report.html`, `docs/report_figures/`, `docs/*.png`": "the report, its figures, images side by side"}
            if contents.pages
            else {}
        ),
        "`code/config.json`": "all settings",
        "`code/environment.tsv`": "versions of the software that made the results",
        "`code/receipts/`": "of every artifact the rule, settings, inputs and digests that made it",
        "`code/workflow/`": "the program",
        f"`{METADATA}`": "the same for machines",
        f"`{MANIFEST}`": "sha256 of every other file",
    }
    yield from (f"| {name} | {what} |" for name, what in rows.items())
    yield f"\nCheck that all is here and unaltered, in this folder:\n\n    sha256sum -c --quiet {MANIFEST}\n"
    yield "## What is not here\n"
    yield (
        "Files of betas, stimuli, captions and networks are not: they are their owners'. Get them from the dataset; "
        "with "
        f"them and `code/` the results are made again.{_terms(contents)}\n"
    )
    yield f"## Licence\n\n{contents.license or 'None was chosen yet; ask the authors before you pass anything on.'}\n"


def _terms(contents: Contents) -> str:
    """What a reader has to know of the dataset's terms, as further sentences."""
    said = ""
    if contents.adapter == "nsd":
        said = " Who passes on data or images of the Natural Scenes Dataset breaks its terms."
    elif contents.terms:
        said = f" Of the dataset's stimuli: {contents.terms}."
    if contents.pages:
        shown = "simulated stimuli" if contents.is_simulated else "grey images in place of stimuli, and captions"
        said += f" The report and contact sheets in `docs/` show {shown}."
    return said


def _write_bids(folder: Path, contents: Contents, facts: methods.Facts) -> None:
    description = bids_derivative.description(
        contents.name,
        contents.authors,
        contents.license,
        contents.program,
        contents.adapter,
        contents.is_simulated,
        contents.source,
    )
    _write(folder / "dataset_description.json", json.dumps(description, indent=1, ensure_ascii=False))
    _write(folder / ".bidsignore", "\n".join(bids_derivative.IGNORED))
    rows = [(bids_derivative.label(each.name), each.n_train, each.n_test, each.n_voxels) for each in facts.subjects]
    tables.write_tsv(
        folder / "participants.tsv", ("participant_id", "training_stimuli", "test_stimuli", "voxels"), rows
    )
    columns = {
        "participant_id": {"Description": "Subject of the dataset"},
        "training_stimuli": {"Description": "Stimuli that decoders were trained on"},
        "test_stimuli": {"Description": "Stimuli that were decoded"},
        "voxels": {"Description": "Voxels that were decoded from"},
    }
    _write(folder / "participants.json", json.dumps(columns, indent=1))


def _crate(
    folder: Path,
    contents: Contents,
    used: Mapping[str, receipts.Receipt],
    facts: methods.Facts,
    sums: Mapping[str, str],
    folders: Mapping[str, str],
) -> dict[str, Any]:
    dates = [date for each in used.values() for _, date, _ in each.files.values()] or [0]
    inputs = {
        path: receipts.of_note(noted)
        for each in used.values()
        for path, noted in each.inputs.items()
        if not path.startswith(receipts.ROOT)
    }
    code = {f"{WORKFLOW}/": "the program", f"{RECEIPTS}/": "receipts of all artifacts that lead to the results"}
    return ro_crate.metadata(
        ro_crate.Crate(
            contents.name,
            f"{'DEMO with a simulated brain: images' if contents.is_simulated else 'Images'} reconstructed from fMRI "
            f"responses of dataset {contents.dataset}, and their scores",
            contents.authors,
            contents.license,
            _iso(min(dates)),
            _iso(max(dates)),
            f"{WORKFLOW}/Snakefile",
            contents.program,
            facts.versions,
            CONFIG,
            dict(_dotted({key: contents.settings[key] for key in NUMBERS_DEPEND_ON})),
            dict(sorted(inputs.items())),
            {path: (os.path.getsize(folder / path), digest) for path, digest in sums.items()},
            {**folders, **code},
            [*folders],
        )
    )


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat()


def _dotted(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted keys."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _plain(value: Any) -> Any:
    """The same of types that JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
