"""Stage 6: which stimulus, and which caption, predicted embeddings point to."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from brain_diffuser.artifacts import hdf5

BLOCK_COLUMNS = 8192


def cosine(
    path_a: str | Path, path_b: str | Path, centre: bool = False
) -> tuple[Float[np.ndarray, "a b"], Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Cosine similarity of all flattened rows of two artifacts, and the nsd_id of each row; columns are streamed.

    `centre` takes the mean over the rows of `b` from both first, which is what all embeddings share. A row of zeros is
    similar to nothing.
    """
    with hdf5.reading(path_a, by_columns=True) as (a, a_id), hdf5.reading(path_b, by_columns=True) as (b, b_id):
        if a.shape[1] != b.shape[1]:
            raise ValueError(
                f"{path_a} has {a.shape[1]} columns, {path_b} has {b.shape[1]}; expected one embedding. Rerun ridge."
            )
        product, square_a, square_b = np.zeros((len(a), len(b))), np.zeros(len(a)), np.zeros(len(b))
        for start in range(0, a.shape[1], BLOCK_COLUMNS):
            left, right = (each[:, start : start + BLOCK_COLUMNS].astype(np.float32) for each in (a, b))
            if centre:
                mean = right.mean(0)
                left, right = left - mean, right - mean
            product += left @ right.T
            square_a += np.einsum("ij,ij->i", left, left)
            square_b += np.einsum("ij,ij->i", right, right)
    lengths = np.sqrt(np.outer(square_a, square_b))
    return np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0), a_id, b_id


def top_1(
    similarity: Float[np.ndarray, "brains images"], pool: int, draws: int, seed: int
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Share of stimuli found first among `pool` candidates, for each draw of a pool; chance is 1 / pool.

    "image": the image among images, by the brain's prediction; "brain": the prediction among predictions, by the image.

    Raises ValueError: a pool of more stimuli than there are.
    Source: retrieval of Scotti et al. 2023, arXiv 2305.18274 (pools of 300, 30 draws).
    """
    n_stimuli = len(similarity)
    if pool > n_stimuli:
        raise ValueError(f"retrieval.pool is {pool}; expected at most the {n_stimuli} test stimuli")
    rng = np.random.default_rng(seed)
    pools = [rng.choice(n_stimuli, pool, replace=False) for _ in range(draws)]
    own = np.arange(pool)
    return {
        "image": np.array([(similarity[np.ix_(each, each)].argmax(1) == own).mean() for each in pools]),
        "brain": np.array([(similarity[np.ix_(each, each)].argmax(0) == own).mean() for each in pools]),
    }
