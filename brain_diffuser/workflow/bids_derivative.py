"""The files by which a folder is a BIDS derivative: its description, participants, and the words of its file names."""

from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "1.10.0"
"""Of the BIDS specification."""

IGNORED = ("ro-crate-metadata.json", "manifest-sha256.txt", "sub-*/images", "sub-*/tables", "sub-*/arrays")
"""What the specification has no names for, in the syntax of .bidsignore: images that were made, scores, predictions."""

DATASETS = {
    "nsd": {"URL": "https://naturalscenesdataset.org", "DOI": "doi:10.1038/s41593-021-00962-x"},
    "haxby": {"URL": "https://openneuro.org/datasets/ds000105", "DOI": "doi:10.1126/science.1063736"},
    "bold5000": {"URL": "https://bold5000-dataset.github.io/website", "DOI": "doi:10.1038/s41597-019-0052-3"},
}
"""Where datasets come from, by the names of adapters."""


def label(subject: str) -> str:
    """A subject as BIDS names it: sub-01 for sub01."""
    return f"sub-{subject.removeprefix('sub')}"


def description(
    name: str,
    authors: Sequence[str],
    license: str,
    program: str,
    adapter: str,
    is_simulated: bool,
    source: str,
) -> dict[str, Any]:
    """The content of dataset_description.json.

    Parameters
    ----------
    name : str
        Of the bundle.
    authors : sequence of str
        Nothing is said of them if there are none.
    license : str
        Likewise.
    program : str
        The version of this project.
    adapter : str
        How the dataset is read.
    is_simulated : bool
        Whether there is no dataset that the derivative comes from.
    source : str
        Where the dataset comes from, in place of what is known of published ones.
    """
    sources: list[Mapping[str, str]] = [{"URL": source}] if source else []
    if not sources and not is_simulated and adapter in DATASETS:
        sources = [DATASETS[adapter]]
    made_by = {"Name": "brain-diffuser-dag", "Version": program, "Description": "Images decoded from fMRI betas"}
    return {
        "Name": name,
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        **({"Authors": [*authors]} if authors else {}),
        **({"License": license} if license else {}),
        "GeneratedBy": [made_by],
        "SourceDatasets": sources,
        "ReferencesAndLinks": ["https://doi.org/10.1038/s41598-023-42891-8"],
    }
