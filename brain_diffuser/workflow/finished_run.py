"""A finished run of one subject, read from its folder: arrays, images and scores with ids, and how they were made."""

import ast
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from brain_diffuser.artifacts import hdf5, image_files, tables, text_files
from brain_diffuser.workflow import receipts

RECORD = ".dataset.json"
"""Of the dataset that a folder of results belongs to; brain_diffuser/workflow/dataset_record.py writes it."""


class Images(NamedTuple):
    """Images, and the id of the stimulus of each, counted from 0."""

    values: UInt8[np.ndarray, "images height width 3"]
    nsd_id: Int32[np.ndarray, " images"]


class Made(NamedTuple):
    """How an artifact was made, by its receipt.

    Parameters
    ----------
    params : {name: value}
        The settings that its job had, and the key of its code.
    given : list of names
        What it was made from, as receipts name it.
    receipt : Receipt
    """

    params: dict[str, Any]
    given: list[str]
    receipt: receipts.Receipt


class Run:
    """A subject's folder of results. Nothing is read before it is asked for, and nothing is changed.

    Parameters
    ----------
    folder : path
        Such as results/sub01, or the folder of a further split or of a test set.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.subject = folder.name

    def __repr__(self) -> str:
        return f"<run {self.folder}, dataset {self.dataset}{' (simulated)' * self.is_simulated}>"

    @property
    def results(self) -> str:
        """The folder of results that the subject's is in."""
        return self.folder.parent.as_posix()

    @cached_property
    def record(self) -> dict[str, Any]:
        """The dataset that the results belong to, and what "auto" stands for in them."""
        path = self.folder.parent / RECORD
        return text_files.read_json(path) if path.is_file() else {}

    @property
    def dataset(self) -> str:
        """The name of the dataset in config.yaml."""
        return str(self.record.get("dataset", "unknown"))

    @property
    def is_simulated(self) -> bool:
        """Whether the brain is simulated, so that no number of the run says anything of brains."""
        return bool(self.record.get("simulated", False))

    def stimuli(self, split: str = "test", rows: slice = hdf5.ALL) -> hdf5.StimulusArray:
        """Stimulus images, uint8 (stimuli, height, width, 3), of "train" or "test"; `rows` takes some of them."""
        return hdf5.load(self.path(f"data/stimuli_{split}.h5"), rows)

    def betas(self, split: str = "test", rows: slice = hdf5.ALL) -> hdf5.StimulusArray:
        """Betas (stimuli, voxels), means over the repeats of a stimulus, before the z-score of the ridge."""
        return hdf5.load(self.path(f"data/betas_{split}.h5"), rows)

    def features(self, feature: str, split: str = "test", rows: slice = hdf5.ALL) -> hdf5.StimulusArray:
        """True features of the stimuli, such as "clip_vision" (stimuli, tokens, dim)."""
        return hdf5.load(self.path(f"features/{feature}_{split}.h5"), rows)

    def predictions(self, feature: str, decoder: str = "ridge", rows: slice = hdf5.ALL) -> hdf5.StimulusArray:
        """What a decoder predicts of a feature from the test betas, in the shape of the feature."""
        return hdf5.load(self.path(f"{decoder}/{feature}_test.h5"), rows)

    def images(self, name: str = "recon", rows: slice = hdf5.ALL) -> Images:
        """A set of images: "recon", "stage1", a variant, or a reference such as "autoencoder".

        Raises FileNotFoundError: the run has no such images. ValueError: an image is not what was written.
        """
        places = [name, f"variants/{name}/recon", f"references/{name}"]
        place = next((each for each in places if (self.folder / f"{each}_manifest.tsv").is_file()), None)
        if place is None:
            raise FileNotFoundError(
                f"{self.folder} has no images {name}; it has {', '.join(self.sets_of_images()) or 'none'}. Make them "
                f"with {command(self.folder / (name if name in ('stage1', 'recon') else places[1]), self.folder)}"
            )
        nsd_id, values = image_files.read_folder(self.folder / place, self.folder / f"{place}_manifest.tsv", rows)
        return Images(values, nsd_id)

    def sets_of_images(self) -> list[str]:
        """The names that `images` knows."""
        found = {"": "*_manifest.tsv", "references": "*_manifest.tsv", "variants": "*/recon_manifest.tsv"}
        return [
            path.parent.name if place == "variants" else path.name.removesuffix("_manifest.tsv")
            for place, pattern in found.items()
            for path in sorted((self.folder / place).glob(pattern))
        ]

    def scores(self, table: str = "metrics") -> list[dict[str, Any]]:
        """Rows of a table of scores, "metrics" or "ablations": means with intervals, beside the shuffled pairing.

        What was not measured is None.
        """
        return [{key: _value(cell) for key, cell in row.items()} for row in self._rows(f"{table}/scores.csv", table)]

    def scores_of_images(self, name: str = "recon", table: str = "metrics") -> dict[str, Shaped[np.ndarray, " images"]]:
        """Every metric of every image of a set, and their `nsd_id`; NaN where it was not measured."""
        path = f"{table}/per_image_{name}.csv"
        rows = self._rows(path, table)
        kinds = {key: np.int32 if key == "nsd_id" else np.float64 for key in rows[0]}
        return {key: tables.numbers(self.folder / path, rows, key, kind) for key, kind in kinds.items()}

    def made(self, artifact: str) -> Made:
        """How an artifact of the run was made, such as "ridge/vdvae_test.h5", by its receipt.

        Raises FileNotFoundError: it has none.
        """
        return self.made_by_name(f"{receipts.ROOT}{self.subject}/{artifact}")

    def made_by_name(self, name: str) -> Made:
        """How what a receipt names was made.

        Raises FileNotFoundError: it has no receipt.
        """
        found = receipts.read(receipts.place(name, self.results))
        path = receipts.path_of(name, self.results)
        if found is None and not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} is not there, so this run is not finished; make it with {command(path, self.folder)}"
            )
        if found is None:
            raise FileNotFoundError(
                f"{receipts.place(name, self.results)}, the receipt of {path}, is missing, so how it was made is not "
                f"known; make it with {command(path, self.folder)}"
            )
        params = {key: ast.literal_eval(value) for key, value in found.params}
        return Made(params, found.given, found)

    def path_of_name(self, name: str) -> Path:
        """Where what receipts name lies: in the folder of results, or where Snakemake ran.

        A path that is not absolute began in the folder where Snakemake ran: a parent of the folder of results, mostly.

        Raises FileNotFoundError: it is nowhere there.
        """
        if name.startswith(receipts.ROOT):
            return Path(receipts.path_of(name, self.results))
        places = [*self.folder.resolve().parents, Path.cwd()]
        found = next((place / name for place in places if os.path.lexists(place / name)), None)
        if found is None:
            raise FileNotFoundError(
                f"{name}, from which {self.folder} was made, is neither beside {self.results} nor in {Path.cwd()}; "
                "call from the folder in which Snakemake ran, or put it back"
            )
        return found

    def path(self, artifact: str) -> Path:
        """Where an artifact lies.

        Raises FileNotFoundError: it is not there.
        """
        path = self.folder / artifact
        check_is_there(path, self.folder)
        return path

    def _rows(self, path: str, table: str) -> list[dict[str, str]]:
        if not (self.folder / path).is_file():
            raise FileNotFoundError(
                f"{self.folder / path} is missing; make it with {command(self.folder / table, self.folder)}"
            )
        return tables.read_csv(self.folder / path)


def load_run(path: str | Path = "results/sub01") -> Run:
    """A finished run of one subject, from which its arrays, images and scores are read.

    Raises FileNotFoundError: there is no such folder. ValueError: it is not one subject's folder of results.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist; expected a subject's folder of results, such as results/sub01"
        )
    if not (folder / "data").is_dir():
        subjects = sorted(each.name for each in _folders(folder) if (each / "data/stimuli.tsv").is_file())
        hint = f"; did you mean {folder / subjects[0]}?" if subjects else ""
        raise ValueError(f"{folder} has no folder data, so it is not a subject's folder of results{hint}")
    return Run(folder)


def command(path: str | Path, subject: Path, options: str = "") -> str:
    """What makes an artifact of a subject's folder: targets are named from the folder on in which Snakemake ran."""
    above = subject.parent.parent
    if subject.is_absolute() and (above / "config.yaml").is_file() and Path(path).is_relative_to(above):
        return f"snakemake --cores all {options}-- {Path(path).relative_to(above)}, in {above}"
    return f"snakemake --cores all {options}-- {path}"


def check_is_there(path: Path, subject: Path) -> None:
    """Raises FileNotFoundError: an artifact of the folder of a subject is not there."""
    if not path.exists():
        is_kept = not (path.parent.name == "features" and path.stem.endswith("_train"))
        why = "" if is_kept else " (features.keep: false deletes it after its last use)"
        keep = "" if is_kept else "--config features='{keep: true}' "
        raise FileNotFoundError(f"{path} is missing{why}; make it with {command(path, subject, keep)}")


def _folders(folder: Path) -> Iterator[Path]:
    return (each for each in folder.iterdir() if each.is_dir())


def _value(cell: str) -> Any:
    """A cell of a table as a number, if it is one; None if it is empty."""
    try:
        return json.loads(cell) if cell else None
    except ValueError:
        return cell
