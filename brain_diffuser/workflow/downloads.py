"""How many bytes planned jobs fetch, and how long that takes: sizes as published, in `download_sizes.tsv`."""

import csv
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from brain_diffuser.workflow import watch

TABLE = Path(__file__).with_name("download_sizes.tsv")
MODELS = ("versatile_diffusion", "stable_diffusion")


def is_download(job: watch.Job) -> bool:
    """Whether a job fetches something."""
    return job.rule.startswith("fetch_")


@lru_cache
def sizes() -> Mapping[str, int]:
    """Bytes of what is published, by its name: a file, a folder of a model, or a session of a subject's betas."""
    with open(TABLE, newline="", encoding="utf-8") as stream:
        return {row["name"]: int(row["bytes"]) for row in csv.DictReader(stream, delimiter="\t")}


def name_of(job: watch.Job) -> str:
    """The name of what a job fetches."""
    key, values = job.rule.removeprefix("fetch_"), job.values
    if key in MODELS:
        return f"{key}/{values['component']}"
    file = values.get("file", key)
    if key == "ip_adapter":
        return f"{key}/{file}"
    subject = re.search(r"subj\d\d", file)
    if subject and "_session" in file:
        return f"betas/{subject[0]}"
    name = file.rpartition("/")[2]
    return name if name in sizes() else "nsd" if key == "nsd" else name


def n_bytes(job: watch.Job) -> int | None:
    """Bytes that a job fetches, at most or about so many; None for what has no size in the table."""
    return sizes().get(name_of(job))


def seconds(n: float | int, megabits: float | int) -> float:
    """Seconds in which so many bytes come, at so many megabits a second."""
    return 8 * n / (megabits * 1e6)
