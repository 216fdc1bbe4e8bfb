"""Further splits of a subject's stimuli into training and test: which stimuli are held out, as tables of ids.

A split divides the stimuli of the dataset's own split, its training and test stimuli together. Nothing is encoded again
for it: only its table differs, and all that follows from one.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int32

from brain_diffuser.artifacts import hdf5, messages, tables
from brain_diffuser.data.stimulus_table import LEAST, Stimuli, too_few

logger = logging.getLogger(__name__)

PART = "_"
"""Between the names of a subject and of its split, and between those of a split and of its part."""

MOST_HELD_OUT = 0.5
"""The largest share of the stimuli that a split may test: jobs are planned for as many before its table is there."""

N_COMPONENTS = 50
"""Principal components in which stimuli are grouped."""

BLOCK_ROWS = 64
NEITHER = ""
"""In a column of a table: the stimulus neither trains nor tests."""


class Kind(NamedTuple):
    """A way to choose the test stimuli of a split.

    Parameters
    ----------
    keys : {key of config.yaml: its default}
        What it reads of the split's section; None where the key has to be written.
    choose : (Pool, settings) -> Held
        Chooses them; raises ValueError.
    parts : key
        The key of the number of parts, each of which is held out in turn, as a split of its own; empty for one split.
    reads_feature : bool
        Whether `Pool.feature` is read.
    files : keys
        Keys of files that are read.
    """

    keys: Mapping[str, Any]
    choose: Callable[["Pool", Mapping[str, Any]], "Held"]
    parts: str = ""
    reads_feature: bool = False
    files: tuple[str, ...] = ()


class Pool(NamedTuple):
    """The stimuli that are divided.

    Parameters
    ----------
    nsd_id : (stimuli,)
        Their ids, the training stimuli of the dataset's own split first.
    names : {nsd_id: name}
        The names of their image files; empty for a dataset without such files.
    feature : (stimuli, columns), optional
        A feature of each, averaged over its tokens (`pooled`).
    """

    nsd_id: Int32[np.ndarray, " stimuli"]
    names: Mapping[int, str] = {}
    feature: Float[np.ndarray, "stimuli columns"] | None = None


class Held(NamedTuple):
    """Which stimuli of a pool test, and which train; the others do neither."""

    test: np.ndarray
    train: np.ndarray


def name_parts(name: str, section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The splits that a section of `splits` stands for, by name: one, or one for each of its parts.

    Parameters
    ----------
    name : str
        The key of the section, such as cluster.
    section : mapping
        Its values, without those that are not written.

    Returns
    -------
    {name: settings}
        Such as cluster_0 to cluster_4; settings are the section with the defaults of its kind, and `part`.
    """
    kind = KINDS[section["kind"]]
    written = {**kind.keys, **section}
    if not kind.parts:
        return {name: written}
    parts = written.pop("only", None)
    numbers = range(written[kind.parts]) if parts is None else parts
    return {f"{name}{PART}{number}": {**written, "part": number} for number in numbers}


def problems(name: str, section: Mapping[str, Any]) -> Iterator[messages.Sentence]:
    """What is wrong with a section of `splits`, found without looking at files."""
    kind = KINDS[section["kind"]]
    where, words = f"splits.{name}", f"a split of kind {section['kind']}"
    known = {*kind.keys, "kind", "images", *(["only"] if kind.parts else [])}
    for key in [key for key in section if key not in known]:
        yield f"{where} has {key}, which {words} does not read; take it out"
    for key in [key for key, default in kind.keys.items() if default is None and key not in section]:
        yield f"{where} has no {key}, which {words} needs; add it"
    if kind.parts:
        n_parts = section.get(kind.parts, kind.keys[kind.parts])
        beyond = [number for number in section.get("only", ()) if number >= n_parts]
        if beyond:
            of: messages.Sentence = f"{where}.{kind.parts} is {n_parts}; write parts from 0 to {n_parts - 1}"
            yield f"{where}.only has {beyond[0]}, and {of}"


def n_stimuli(n_pool: int, settings: Mapping[str, Any], split: str) -> int:
    """How many stimuli of a pool train or test, or the largest possible number while only the table can tell."""
    if settings["kind"] == "random":
        n_test = len(range(settings["part"], n_pool, settings["folds"]))
        return n_test if split == "test" else n_pool - n_test
    if settings["kind"] == "far":
        n_test = _n_far(n_pool, settings)
        return n_test if split == "test" else n_pool - n_test
    return int(MOST_HELD_OUT * n_pool) if split == "test" else n_pool


def divide(splits: Mapping[str, Stimuli], held: Held, name: str) -> dict[str, Stimuli]:
    """The training and test stimuli of a split with all their trials, each in the order of the dataset's own.

    Raises ValueError: a split has too few stimuli, or tests more than `MOST_HELD_OUT` of them.
    """
    nsd_id = np.concatenate([splits[each].nsd_id for each in ("train", "test")])
    trials = [*splits["train"].trials, *splits["test"].trials]
    divided = {}
    for split, chosen in (("train", held.train), ("test", held.test)):
        rows = np.flatnonzero(chosen)
        if len(rows) < LEAST[split]:
            raise ValueError(f"config.yaml: splits gives {name} {too_few(split, len(rows))}; choose another split")
        divided[split] = Stimuli(nsd_id[rows], tuple(trials[row] for row in rows))
    share = len(divided["test"].nsd_id) / len(nsd_id)
    if share > MOST_HELD_OUT:
        raise ValueError(
            f"config.yaml: splits gives {name} {len(divided['test'].nsd_id)} of {len(nsd_id)} stimuli to test; "
            f"expected at most {MOST_HELD_OUT:.0%}, so make more parts or hold out fewer"
        )
    return divided


def pooled(path: str | Path) -> Float[np.ndarray, "stimuli columns"]:
    """A stored feature of each stimulus, averaged over its tokens if it has any, float32.

    Memory: the means, and a few rows.
    """
    with hdf5.reading(path) as (values, nsd_id):
        about = hdf5.about(values)
        shape = about.get("shape") or [values.shape[1]]
        means = np.empty((len(nsd_id), shape[-1]), np.float32)
        for start in range(0, len(nsd_id), BLOCK_ROWS):
            rows = values[start : start + BLOCK_ROWS].astype(np.float32)
            hdf5.check_finite(path, rows, nsd_id[start : start + BLOCK_ROWS])
            means[start : start + BLOCK_ROWS] = rows.reshape(len(rows), -1, shape[-1]).mean(1)
    return means


def nearest(
    of: Float[np.ndarray, "some columns"], among: Float[np.ndarray, "others columns"], *, is_same: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The row of `among` that correlates most with each row of `of`, and 1 minus that correlation.

    With `is_same` both are the same stimuli, and no stimulus is its own neighbour. Rows that do not vary
    are far from all.
    """
    rows, others = _unit(of), _unit(among)
    places, distances = np.empty(len(rows), np.int64), np.empty(len(rows))
    for start in range(0, len(rows), 1024):
        correlations = rows[start : start + 1024] @ others.T
        if is_same:
            here = np.arange(len(correlations))
            correlations[here, start + here] = -np.inf
        places[start : start + 1024] = correlations.argmax(1)
        distances[start : start + 1024] = 1 - correlations.max(1)
    return places, distances


def _unit(rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Rows less their mean, of length 1, or 0 where a row does not vary."""
    centred = rows.astype(np.float64) - rows.mean(1, keepdims=True, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def _by_chance(pool: Pool, settings: Mapping[str, Any]) -> Held:
    """One of several equal parts of the stimuli in a seeded order."""
    by_id = np.argsort(pool.nsd_id, kind="stable")  # whatever their order in the dataset's own split
    order = by_id[np.random.default_rng(settings["seed"]).permutation(len(by_id))]
    test = np.zeros(len(by_id), bool)
    test[order[settings["part"] :: settings["folds"]]] = True
    return Held(test, ~test)


def _by_cluster(pool: Pool, settings: Mapping[str, Any]) -> Held:
    """One of the clusters of the stimuli; 0 is the largest.

    k-means of the first principal components of the standardised feature. Shirakawa et al. 2024, arXiv 2405.10078, have
    UMAP before it.
    """
    test = clusters(pool.feature, settings["clusters"], settings["seed"]) == settings["part"]
    return Held(test, ~test)


def clusters(feature: Any, n_clusters: int, seed: int) -> np.ndarray:
    """The number of each stimulus' cluster, from 0 for the largest cluster.

    Raises ValueError: there are fewer stimuli than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    if len(feature) < n_clusters:
        raise ValueError(f"config.yaml: splits asks for {n_clusters} clusters of {len(feature)} stimuli; ask for fewer")
    spread = feature.std(0)
    standardised = (feature - feature.mean(0)) / np.where(spread > 0, spread, 1)
    n_components = min(N_COMPONENTS, *standardised.shape)
    components = PCA(n_components, svd_solver="full", random_state=seed).fit_transform(standardised)
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(components)  # pyright: ignore[reportArgumentType]
    sizes = np.bincount(found, minlength=n_clusters)
    first = np.array([np.flatnonzero(found == each)[0] if sizes[each] else len(found) for each in range(n_clusters)])
    rank = np.empty(n_clusters, np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(n_clusters)
    return rank[found]


def _by_distance(pool: Pool, settings: Mapping[str, Any]) -> Held:
    """The stimuli whose nearest neighbours among all others are farthest."""
    assert pool.feature is not None
    _, distances = nearest(pool.feature, pool.feature, is_same=True)
    farthest = np.lexsort((pool.nsd_id, -distances))[: _n_far(len(pool.nsd_id), settings)]
    test = np.zeros(len(pool.nsd_id), bool)
    test[farthest] = True
    return Held(test, ~test)


def _n_far(n_pool: int, settings: Mapping[str, Any]) -> int:
    return round(settings["share"] * n_pool)


def _by_column(pool: Pool, settings: Mapping[str, Any]) -> Held:
    """What a column of a table says of each stimulus: train, test, or nothing for neither."""
    path, column = settings["file"], settings["column"]
    rows = tables.read_rows(path, ("stimulus", column))
    said: dict[int, str] = {}
    known = _ids_by_name(pool)
    for line, row in enumerate(rows, 2):
        cell, word = row["stimulus"], row[column]
        if word not in ("train", "test", NEITHER):
            raise ValueError(f"{path} line {line}: {column} is {word!r}; expected train, test or an empty cell")
        if cell not in known:
            continue  # another subject's
        if said.setdefault(known[cell], word) != word:
            raise ValueError(f"{path} line {line}: stimulus {cell} is there twice with another {column}; keep one line")
    lacking = [number for number in pool.nsd_id.tolist() if number not in said]
    if lacking:
        shown = pool.names.get(lacking[0], lacking[0])
        raise ValueError(
            f"{path} has no line for stimulus {shown} ({len(lacking)} of {len(pool.nsd_id)} stimuli); add a line for "
            "each"
        )
    words = np.array([said[number] for number in pool.nsd_id.tolist()])
    return Held(words == "test", words == "train")


def _published(pool: Pool, settings: Mapping[str, Any]) -> Held:
    """The lists of a published split file (JSON: variants of train_ids and test_ids), as it is."""
    path = Path(settings["file"])
    variant = _variant(path, settings["variant"])
    known = _ids_by_name(pool)
    chosen = {}
    for key in ("train_ids", "test_ids"):
        ids = variant.get(key)
        if not isinstance(ids, list) or not ids:
            raise ValueError(f"{path}: the variant has no list {key}; expected names of stimuli. Is it a split file?")
        found = {known[str(name)] for name in ids if str(name) in known}
        if not found:
            raise ValueError(
                f"{path}: none of the {len(ids)} {key} is a stimulus of this subject, the first is {ids[0]}; choose "
                "the file of this subject"
            )
        chosen[key] = np.isin(pool.nsd_id, sorted(found))
    both = pool.nsd_id[chosen["train_ids"] & chosen["test_ids"]]
    if len(both):
        shown = pool.names.get(int(both[0]), both[0])
        raise ValueError(f"{path}: {shown} is in train_ids and in test_ids; expected it in one. Download it again.")
    return Held(chosen["test_ids"], chosen["train_ids"])


def _variant(path: Path, wanted: Any) -> Mapping[str, Any]:
    """The variant of a split file that is asked for, or its only one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        variants = {str(each["variant_id"]): each for each in content["variants"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no split file ({type(error).__name__}: {error}); expected JSON with variants of variant_id, "
            "train_ids and test_ids"
        ) from error
    if wanted == "" and len(variants) == 1:
        return next(iter(variants.values()))
    if str(wanted) not in variants:
        asked: messages.Sentence = f"no variant {wanted}" if wanted != "" else f"{len(variants)} variants"
        raise ValueError(f"{path} has {asked}; set variant of the split to one of {', '.join(variants)}")
    return variants[str(wanted)]


def _ids_by_name(pool: Pool) -> dict[str, int]:
    """The ids of stimuli by what a table may call them: the name of the image file, or the id."""
    by_id = {str(number): number for number in pool.nsd_id.tolist()}
    return by_id | {pool.names[number]: number for number in pool.nsd_id.tolist() if number in pool.names}


KINDS: dict[str, Kind] = {
    "random": Kind({"folds": 5, "seed": 0}, _by_chance, parts="folds"),
    "cluster": Kind(
        {"clusters": 5, "feature": "clip_vision", "seed": 0}, _by_cluster, parts="clusters", reads_feature=True
    ),
    "far": Kind({"share": 0.1, "feature": "clip_vision"}, _by_distance, reads_feature=True),
    "column": Kind({"file": None, "column": None}, _by_column, files=("file",)),
    "published": Kind({"file": None, "variant": ""}, _published, files=("file",)),
}
"""The kinds of splits that `splits.*.kind` in config.yaml may name: one line each."""


def choose(settings: Mapping[str, Any], pool: Pool, files: Sequence[str | Path] = ()) -> Held:
    """The test and training stimuli of a split by its settings, and by the files of its kind.

    Raises ValueError, OSError: see the kinds.
    """
    kind = KINDS[settings["kind"]]
    held = kind.choose(pool, {**settings, **dict(zip(kind.files, files, strict=True))})
    neither = ~(held.test | held.train)
    left = f"; {neither.sum()} in neither" if neither.any() else ""
    logger.info("%d training and %d test stimuli%s", held.train.sum(), held.test.sum(), left)
    return held
