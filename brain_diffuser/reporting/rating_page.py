"""The page of a rating by people: one HTML file, complete in itself, that works offline."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import jinja2
import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from brain_diffuser.evaluation.rating_trials import CATCH, Kit

HERE = Path(__file__).parent
QUALITY = 90  # of JPEG

Images = Mapping[int, UInt8[np.ndarray, "_ _ 3"]]


def write(
    path: str | Path, kit: Kit, stimuli: Images, reconstructions: Images, *, size: int, seed: int, notes: list[str]
) -> None:
    """Write the page.

    It holds every image once, in an order that says nothing, and of each trial the image and the two candidates. Which
    candidate is right is not on the page.

    Parameters
    ----------
    path : path
    kit : Kit
        The trials.
    stimuli, reconstructions : {nsd_id: image}
        At least those of the trials.
    size : int
        The side of images on the page, pixels; all are squares there, as JPEG, so that no candidate differs by its
        format.
    seed : int
        Of the order of the images.
    notes : list of str
        Sentences shown at the beginning, such as on terms.

    Memory: the page, about 20 kB an image at 256 pixels.
    """
    needed = {("stimulus", number) for trial in kit.trials for number in (trial.nsd_id, trial.other_id)}
    needed |= {("reconstruction", trial.nsd_id) for trial in kit.trials if trial.kind != CATCH}
    listed = sorted(needed)
    order = np.random.default_rng(seed).permutation(len(listed)).tolist()
    place = {listed[each]: number for number, each in enumerate(order)}
    images = ["" for _ in listed]
    for (kind, number), where in place.items():
        images[where] = data_uri((stimuli if kind == "stimulus" else reconstructions)[number], size)
    trials = []
    for trial in kit.trials:
        shown = place["stimulus" if trial.kind == CATCH else "reconstruction", trial.nsd_id]
        own, other = place["stimulus", trial.nsd_id], place["stimulus", trial.other_id]
        a, b = (own, other) if trial.right == "a" else (other, own)
        trials.append([trial.name, shown, a, b])
    Path(path).write_text(page(kit.key, images, trials, size, notes), encoding="utf-8")


def data_uri(image: UInt8[np.ndarray, "_ _ 3"], size: int) -> str:
    """An image as JPEG in a data URI, a square of `size` pixels."""
    stream = io.BytesIO()
    square = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
    square.save(stream, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def page(key: str, images: list[str], trials: list[list], size: int, notes: list[str]) -> str:
    """The HTML of a page.

    Parameters
    ----------
    key : str
        Of the kit.
    images : list of data URIs
    trials : list of [name, image, candidate a, candidate b]
        Images by their places.
    size : int
        The side of images, pixels.
    notes : list of str
    """
    script = (HERE / "rating.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("rating.html.j2").render(
        style=Markup((HERE / "rating.css").read_text(encoding="utf-8")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(json.dumps({"kit": key, "images": images, "trials": trials}).replace("</", "<\\/")),
        n_trials=len(trials),
        size=size,
        notes=notes,
    )
