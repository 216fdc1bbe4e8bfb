"""The metadata of a Workflow Run RO-Crate: what ran, from what, with which settings and versions, and what came of it.

Source: RO-Crate 1.1, https://w3id.org/ro/crate/1.1; Workflow Run Crate 0.5, https://w3id.org/ro/wfrun/workflow/0.5.
"""

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CRATE, WORKFLOW_CRATE = "https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
RUN_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""Words beside those of RO-Crate's own context."""
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
COMPUTATIONAL_WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
MARKDOWN, HDF5 = "text/markdown", "application/x-hdf5"
FORMATS = {".md": MARKDOWN, ".yaml": "application/yaml", ".tsv": "text/tab-separated-values", ".h5": HDF5}

Entity = dict[str, Any]


class Crate(NamedTuple):
    """What the metadata are written from.

    Parameters
    ----------
    name, description : str
    authors : sequence of str
    license : str
        A URL or a text; empty if none was chosen.
    began, ended : str
        ISO 8601, with a time zone.
    workflow : str
        The path of the Snakefile in the folder.
    program : str
        The version of this project.
    versions : {package: version}
    config : str
        The path of the settings in the folder.
    settings : {dotted key: value}
        Of the settings, those that numbers depend on.
    inputs : {path: digest}
        What was read and is not in the folder.
    files : {path: (size, sha256)}
        What the folder has, but for the metadata themselves and the manifest.
    folders : {path: description}
        Folders that are described as a whole; their files are not described one by one.
    results : sequence of paths
        What came of the run, files or folders.
    """

    name: str
    description: str
    authors: Sequence[str]
    license: str
    began: str
    ended: str
    workflow: str
    program: str
    versions: Mapping[str, str]
    config: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]
    folders: Mapping[str, str]
    results: Sequence[str]


def metadata(crate: Crate) -> dict[str, Any]:
    """The content of ro-crate-metadata.json."""
    graph = [*_root(crate), *_workflow(crate), *_run(crate), *_parts(crate)]
    return {"@context": [f"{CRATE}/context", TERMS], "@graph": graph}


def _root(crate: Crate) -> Iterator[Entity]:
    yield {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": [{"@id": CRATE}, {"@id": WORKFLOW_CRATE}],
    }
    is_link = crate.license.startswith("http")
    words = crate.license or "No licence was chosen yet: all rights reserved, until the authors name one."
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": crate.name,
        "description": crate.description,
        "datePublished": crate.ended,
        "license": {"@id": crate.license if is_link else "#license"},
        "conformsTo": [{"@id": profile} for profile in RUN_PROFILES],
        "mainEntity": {"@id": crate.workflow},
        "mentions": {"@id": "#run"},
        **_people("author", crate),
        "hasPart": [{"@id": path} for path in (*_listed(crate), *crate.folders)],
    }
    yield {
        "@id": crate.license if is_link else "#license",
        "@type": "CreativeWork",
        "name": crate.license or "no licence",
        "description": words,
    }
    for profile, name in RUN_PROFILES.items():
        yield {"@id": profile, "@type": "CreativeWork", "name": name, "version": profile.rpartition("/")[2]}
    for name in crate.authors:
        yield {"@id": _author(name), "@type": "Person", "name": name}


def _workflow(crate: Crate) -> Iterator[Entity]:
    size, sha256 = crate.files[crate.workflow]
    yield {
        "@id": crate.workflow,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "brain-diffuser-dag",
        "description": "Brain-Diffuser as a Snakemake workflow: from fMRI betas to reconstructed images",
        "version": crate.program,
        "contentSize": str(size),
        "sha256": sha256,
        "license": {"@id": "https://spdx.org/licenses/MIT"},
        "conformsTo": {"@id": COMPUTATIONAL_WORKFLOW},
        "programmingLanguage": {"@id": SNAKEMAKE},
        "softwareRequirements": [{"@id": _package(*each)} for each in crate.versions.items()],
        "encodingFormat": "text/x-python",
        "input": {"@id": "#settings"},
        "output": {"@id": "#images"},
    }
    yield {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT License"}
    yield {
        "@id": SNAKEMAKE,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "alternateName": "Snakemake",
        "identifier": {"@id": "https://doi.org/10.12688/f1000research.29032.2"},
        "url": {"@id": "https://snakemake.readthedocs.io"},
    }
    for name, what, kind in (("settings", "the configuration", "File"), ("images", "images and scores", "Dataset")):
        yield {
            "@id": f"#{name}",
            "@type": "FormalParameter",
            "name": name,
            "description": what,
            "additionalType": kind,
            "conformsTo": {"@id": PARAMETER},
        }
    for name, version in crate.versions.items():
        found = {"@id": _package(name, version), "@type": "SoftwareApplication", "name": name}
        yield found | {"softwareVersion": version}


def _run(crate: Crate) -> Iterator[Entity]:
    yield {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Run of brain-diffuser-dag {crate.program}",
        "description": crate.description,
        "instrument": {"@id": crate.workflow},
        "startTime": crate.began,
        "endTime": crate.ended,
        "actionStatus": "http://schema.org/CompletedActionStatus",
        **_people("agent", crate),
        "object": [
            {"@id": crate.config},
            *({"@id": f"#settings/{key}"} for key in crate.settings),
            *({"@id": _input(path)} for path in crate.inputs),
        ],
        "result": [{"@id": path} for path in crate.results],
    }
    for key, value in crate.settings.items():
        yield {"@id": f"#settings/{key}", "@type": "PropertyValue", "name": key, "value": str(value)}
    for path, digest in crate.inputs.items():
        yield {
            "@id": _input(path),
            "@type": "CreativeWork",
            "name": path,
            "description": "Read by the run, and not in this folder; the identifier is a digest of names, sizes and "
            "content",
            "identifier": digest,
        }


def _parts(crate: Crate) -> Iterator[Entity]:
    for path in _listed(crate):
        if path != crate.workflow:
            size, sha256 = crate.files[path]
            example = {"exampleOfWork": {"@id": "#settings"}} if path == crate.config else {}
            about = {"about": {"@id": "./"}} if path == "README.md" else {}
            yield {
                "@id": path,
                "@type": "File",
                "name": path.rpartition("/")[2],
                "contentSize": str(size),
                "encodingFormat": _format(path),
                "sha256": sha256,
                **example,
                **about,
            }
    for path, description in crate.folders.items():
        example = {"exampleOfWork": {"@id": "#images"}} if path in crate.results else {}
        name = path.rstrip("/")
        yield {"@id": path, "@type": "Dataset", "name": name, "description": description, **example}


def _listed(crate: Crate) -> list[str]:
    """The files that are described one by one."""
    return [
        path
        for path in crate.files
        if path == crate.workflow or not any(path.startswith(folder) for folder in crate.folders)
    ]


def _format(path: str) -> str:
    ending = path[path.rfind(".") :]
    return FORMATS.get(ending) or mimetypes.guess_type(path)[0] or "text/plain"


def _people(word: str, crate: Crate) -> Entity:
    """The authors under a word; nothing if there are none."""
    listed = [{"@id": _author(name)} for name in crate.authors]
    return {word: listed[0] if len(listed) == 1 else listed} if listed else {}


def _package(name: str, version: str) -> str:
    """The package URL of a version."""
    return f"pkg:{'generic' if name == 'python' else 'pypi'}/{name}@{version.replace('+', '%2B')}"


def _author(name: str) -> str:
    return f"#author/{'-'.join(name.split())}"


def _input(path: str) -> str:
    return f"#input/{path.lstrip('/')}"
