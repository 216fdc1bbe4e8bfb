"""The metadata of a Workflow Run RO-Crate: what ran, from what, with which settings and versions, and what came of it.

Source: RO-Crate 1.1, https://w3id.org/ro/crate/1.1; Workflow Run Crate 0.5, https://w3id.org/ro/wfrun/workflow/0.5.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rocrate.model import ContextEntity, Dataset
from rocrate.rocrate import ROCrate

RUN_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""Words beside those of RO-Crate's own context."""
COMPUTATIONAL_WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
MIT = "https://spdx.org/licenses/MIT"
SETTINGS, IMAGES = {"@id": "#settings"}, {"@id": "#images"}
MARKDOWN, HDF5 = "text/markdown", "application/x-hdf5"
FORMATS = {".md": MARKDOWN, ".yaml": "application/yaml", ".tsv": "text/tab-separated-values", ".h5": HDF5}


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


def metadata(described: Crate) -> dict[str, Any]:
    """The content of ro-crate-metadata.json."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms |= TERMS
    _describe(crate, described)
    crate.add_formal_parameter("settings", "File", identifier=SETTINGS["@id"], description="the configuration")
    crate.add_formal_parameter("images", "Dataset", identifier=IMAGES["@id"], description="images and scores")
    _add_workflow(crate, described)
    _add_parts(crate, described)
    _add_run(crate, described)
    return crate.metadata.generate()


def _describe(crate: ROCrate, described: Crate) -> None:
    """Name, authors, licence and profiles of the whole."""
    crate.name, crate.description = described.name, described.description
    crate.datePublished = described.ended
    words = described.license or "No licence was chosen yet: all rights reserved, until the authors name one."
    is_link = described.license.startswith("http")
    crate.license = _entity(
        crate,
        described.license if is_link else "#license",
        "CreativeWork",
        name=described.license or "no licence",
        description=words,
    )
    for profile, name in RUN_PROFILES.items():
        found = _entity(crate, profile, "CreativeWork", name=name, version=profile.rpartition("/")[2])
        crate.root_dataset.append_to("conformsTo", found)
    for name in described.authors:
        author = _entity(crate, f"#author/{'-'.join(name.split())}", "Person", name=name)
        crate.root_dataset.append_to("author", author)


def _add_workflow(crate: ROCrate, described: Crate) -> None:
    """The program, its language and the packages that it needs."""
    _entity(crate, MIT, "CreativeWork", name="MIT License")
    packages = [
        _entity(crate, _package(name, version), "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in described.versions.items()
    ]
    crate.add_workflow(
        dest_path=described.workflow,
        main=True,
        lang="snakemake",
        properties={
            **_content(described, described.workflow),
            "name": "brain-diffuser-dag",
            "description": "Brain-Diffuser as a Snakemake workflow: from fMRI betas to reconstructed images",
            "version": described.program,
            "license": {"@id": MIT},
            "conformsTo": {"@id": COMPUTATIONAL_WORKFLOW},
            "softwareRequirements": packages,
            "encodingFormat": "text/x-python",
            "input": SETTINGS,
            "output": IMAGES,
        },
    )


def _add_parts(crate: ROCrate, described: Crate) -> None:
    """Files, one by one, but for those of folders that are described as a whole."""
    for path in described.files:
        if path != described.workflow and not any(path.startswith(folder) for folder in described.folders):
            properties: dict[str, Any] = {**_content(described, path), "encodingFormat": _format(path)}
            if path == described.config:
                properties["exampleOfWork"] = SETTINGS
            if path == "README.md":
                properties["about"] = {"@id": "./"}
            crate.add_file(dest_path=path, properties={"name": path.rpartition("/")[2], **properties})
    for path, description in described.folders.items():
        example = {"exampleOfWork": IMAGES} if path in described.results else {}
        name = path.rstrip("/")
        crate.add(Dataset(crate, dest_path=path, properties={"name": name, "description": description, **example}))


def _add_run(crate: ROCrate, described: Crate) -> None:
    """What ran, with which settings and from what, and what came of it."""
    used = [crate.get(described.config)]
    for key, value in described.settings.items():
        used.append(_entity(crate, f"#settings/{key}", "PropertyValue", name=key, value=str(value)))
    for path, digest in described.inputs.items():
        read = _entity(
            crate,
            f"#input/{path.lstrip('/')}",
            "CreativeWork",
            name=path,
            description="Read by the run, not in this folder; the identifier is a digest of names, sizes and content",
            identifier=digest,
        )
        used.append(read)
    authors = crate.root_dataset.get("author", [])
    run = crate.add_action(
        crate.mainEntity,
        identifier="#run",
        object=used,
        result=[crate.get(path) for path in described.results],
        properties={
            "name": f"Run of brain-diffuser-dag {described.program}",
            "description": described.description,
            "startTime": described.began,
            "endTime": described.ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
            **({"agent": authors} if authors else {}),
        },
    )
    crate.root_dataset["mentions"] = run


def _entity(crate: ROCrate, identifier: str, kind: str, /, **properties: Any) -> ContextEntity:
    """A thing that is no file."""
    found = ContextEntity(crate, identifier, {"@type": kind, **properties})
    crate.add(found)
    return found


def _content(described: Crate, path: str) -> dict[str, str]:
    size, sha256 = described.files[path]
    return {"contentSize": str(size), "sha256": sha256}


def _format(path: str) -> str:
    ending = path[path.rfind(".") :]
    return FORMATS.get(ending) or mimetypes.guess_type(path)[0] or "text/plain"


def _package(name: str, version: str) -> str:
    """The package URL of a version."""
    return f"pkg:{'generic' if name == 'python' else 'pypi'}/{name}@{version.replace('+', '%2B')}"
