"""What the report says of how its images were made: the first sentences of the page, and its methods as HTML."""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from brain_diffuser.reporting import labels, methods
from brain_diffuser.reporting.score_tables import DatasetLabel

URL = re.compile(r"https://[^\s<>\"]+")


def lead(facts: methods.Facts, dataset_label: DatasetLabel) -> Iterator[str]:
    """The first sentences of the page, for readers who know nothing of the project."""
    simulated = "simulated " * facts.is_simulated
    trained = labels.counted({each.name: each.n_train for each in facts.subjects}, "other images")
    voxels = labels.counted({each.name: each.n_voxels for each in facts.subjects}, "voxels")
    who = (
        f"one {simulated}brain" if len(facts.subjects) == 1 else f"{len(facts.subjects)} {simulated}brains, one by one"
    )
    name = "" if dataset_label.disclaimer else f" (dataset {dataset_label.name}, {dataset_label.about})"
    yield (
        f"Each pair is an image that was shown, the stimulus, and the image reconstructed from {simulated}fMRI "
        f"responses to it alone{name}."
    )
    yield (
        f"From responses of {who} to {trained}, ridge regression learned to decode image features from {voxels}; a "
        "VDVAE and a diffusion model turn decoded features into an image (Brain-Diffuser, Ozcelik & VanRullen 2023)."
    )


def as_html(text: str) -> Markup:
    """The text of `methods.text` as paragraphs and the list of references, without its title."""
    body, _, listed = text.partition("\n## References\n")
    paragraphs = [each for each in body.strip().split("\n\n") if each and not each.startswith("#")]
    references = [line[2:] for line in listed.split("\n") if line.startswith("- ")]
    html = [f"<p>{_inline(each)}</p>" for each in paragraphs]
    if references:
        items = "".join(f"<li>{_inline(each)}</li>" for each in references)
        html.append(f'<h3>References</h3><ul class="references">{items}</ul>')
    return Markup("\n".join(html))


def _inline(text: str) -> str:
    """Text with its bold words and links."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return URL.sub(lambda match: f'<a href="{match[0]}">{match[0]}</a>', bold)
