"""What the report says of how its images were made: the first sentences of the page, and its methods as HTML."""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from brain_diffuser.reporting import labels, methods
from brain_diffuser.reporting.score_tables import DatasetLabel

URL = re.compile(r"https://[^\s<>\"]+")


def lead(facts: methods.Facts, dataset_label: DatasetLabel) -> Iterator[str]:
    """The first sentences of the page, for readers who know nothing of the project."""
    n_subjects, simulated = len(facts.subjects), "simulated " * facts.is_simulated
    one, several = ("simulated brain", "simulated brains") if facts.is_simulated else ("person", "people")
    who = f"one {one}" if n_subjects == 1 else f"each of {n_subjects} {several}"
    trained = labels.counted(each.n_train for each in facts.subjects)
    voxels = labels.counted(each.n_voxels for each in facts.subjects)
    dataset = "" if dataset_label.disclaimer else f" (dataset {dataset_label.name}, {dataset_label.about})"
    is_proxy = bool(dataset_label.disclaimer) and not facts.is_simulated  # an image that perhaps was not shown
    shown = "" if is_proxy else f", an image that was shown{dataset},"
    yield f"Each pair is a stimulus{shown} and its reconstruction from {simulated}fMRI responses to it alone."
    yield (
        f"From responses of {who} to {trained} other images, ridge regression learned to decode image features (VDVAE "
        f"latents, CLIP embeddings) from {voxels} voxels; two image generators, a VDVAE and a diffusion model, turn "
        "what is decoded into an image (Brain-Diffuser, Ozcelik & VanRullen 2023)."
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
