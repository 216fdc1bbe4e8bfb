"""Retrieval: which stimulus, and which training caption, a predicted embedding is nearest to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from brain_diffuser.artifacts import hdf5

BLOCK_COLUMNS = 8192
COLUMNS = ("retrieved", "pool", "draws", "top_1", "sd_over_draws", "chance")


def cosine(
    path_a: str | Path, path_b: str | Path, centre: bool = False
) -> tuple[Float[np.ndarray, "a b"], Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Cosine similarity of all flattened rows of two artifacts, and the nsd_id of each row; columns are streamed.

    `centre` first subtracts from both the mean over the rows of `b`, which all embeddings share. The similarity of a
    row of zeros is 0.

    Raises ValueError: embeddings of different sizes, or numbers that are not finite.
    """
    with hdf5.reading(path_a, by_columns=True) as (a, a_id), hdf5.reading(path_b, by_columns=True) as (b, b_id):
        if a.shape[1] != b.shape[1]:
            raise ValueError(
                f"{path_a} has {a.shape[1]} columns, {path_b} has {b.shape[1]}; expected one embedding. "
                f"{hdf5.rerun(path_a)}"
            )
        product, square_a, square_b = np.zeros((len(a), len(b))), np.zeros(len(a)), np.zeros(len(b))
        for start in range(0, a.shape[1], BLOCK_COLUMNS):
            left, right = (values[:, start : start + BLOCK_COLUMNS].astype(np.float32) for values in (a, b))
            hdf5.check_finite(path_a, left, a_id)
            hdf5.check_finite(path_b, right, b_id)
            if centre:
                mean = right.mean(0)
                left, right = left - mean, right - mean
            product += left @ right.T
            square_a += np.einsum("ij,ij->i", left, left)
            square_b += np.einsum("ij,ij->i", right, right)
    lengths = np.sqrt(np.outer(square_a, square_b))
    return np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0), a_id, b_id


def top_1(
    similarity: Float[np.ndarray, "predictions images"], pool: int, draws: int, seed: int
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Share of stimuli that come first among `pool` candidates, for each draw of a pool; chance is 1 / pool.

    Parameters
    ----------
    similarity : array (predictions, images)
        Of each prediction from betas with each stimulus image; pairs of one stimulus lie on the diagonal.
    pool : int
        Candidates, drawn without replacement.
    draws : int
        How many pools are drawn.
    seed : int
        Of the draws.

    Returns
    -------
    dict of arrays (draws,)
        "image": the image is found among images, by its prediction; "brain": the prediction among predictions, by its
        image.

    Raises
    ------
    ValueError
        The pool is larger than the test set.

    Source: retrieval of Scotti et al. 2023, arXiv 2305.18274 (pools of 300, 30 draws).
    """
    n_stimuli = len(similarity)
    if pool > n_stimuli:
        raise ValueError(f"retrieval.pool is {pool}; expected at most the {n_stimuli} test stimuli")
    rng = np.random.default_rng(seed)
    pools = [rng.choice(n_stimuli, pool, replace=False) for _ in range(draws)]
    diagonal = np.arange(pool)
    return {
        "image": np.array([(similarity[np.ix_(rows, rows)].argmax(1) == diagonal).mean() for rows in pools]),
        "brain": np.array([(similarity[np.ix_(rows, rows)].argmax(0) == diagonal).mean() for rows in pools]),
    }


def retrieve_images(predicted: str | Path, true: str | Path, *, pool: int, draws: int, seed: int) -> list[tuple]:
    """Rows of COLUMNS: how often predicted embeddings find their stimulus, and stimuli their prediction.

    Parameters
    ----------
    predicted, true : paths
        Embeddings of the test stimuli, from betas and from the images.
    pool, draws, seed : int
        As of `top_1`; the pool is cut to the number of test stimuli.
    """
    similarity, predicted_id, true_id = cosine(predicted, true)
    hdf5.check_aligned(predicted, predicted_id, true, true_id)
    pool = min(pool, len(similarity))
    return [
        (name, pool, draws, f"{hits.mean():.4f}", f"{hits.std():.4f}", f"{1 / pool:.4f}")
        for name, hits in top_1(similarity, pool, draws, seed).items()
    ]


def nearest_captions(
    predicted: str | Path, train: str | Path, captions: Mapping[int, list[str]], n_captions: int
) -> dict[int, list[dict[str, Any]]]:
    """For each test stimulus the training captions nearest to its predicted text embedding, nearest first.

    Parameters
    ----------
    predicted, train : paths
        Text embeddings: of the test stimuli from betas, of the training stimuli from their captions.
    captions : {nsd_id: captions}
    n_captions : int
        How many to keep for each test stimulus.
    """
    similarity, test_id, train_id = cosine(predicted, train, centre=True)
    nearest = np.argsort(-similarity, axis=1)[:, :n_captions]
    return {
        int(test_id[row]): [
            {
                "caption": captions[int(train_id[column])][0],
                "nsd_id": int(train_id[column]),
                "similarity": round(float(similarity[row, column]), 4),
            }
            for column in columns
        ]
        for row, columns in enumerate(nearest)
    }
