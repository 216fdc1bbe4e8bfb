"""The best training image: for each test stimulus the training stimulus that its feature resembles most.

Chosen by the decoded feature it is a baseline that reconstructs nothing, and that reconstructions have to beat. Chosen
by the true feature it is an oracle: the most that any choice among training images could reach in that feature.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation.similarity import Similarity

CHOOSE_BY = ("decoded", "true")


def choose(of: Similarity, by: str) -> Int[np.ndarray, " test"]:
    """The row of the training stimulus with the most similar true feature, for each test stimulus.

    Parameters
    ----------
    of
        Correlations of a feature.
    by : "decoded" or "true"
        Whether the test stimulus' decoded or true feature is compared.

    Raises ValueError: a feature that does not vary, so that it resembles none.
    """
    correlation = {"decoded": of.decoded, "true": of.true}[by][:, len(of.test_id) :]
    constant = np.flatnonzero(np.isnan(correlation).all(1))
    if len(constant):
        first = of.test_id[constant[0]]
        raise ValueError(
            f"the {by} feature of nsd_id {first} ({len(constant)} of {len(of.test_id)}) does not vary and resembles no "
            "training stimulus; choose another feature as evidence.nearest_by"
        )
    return np.nanargmax(correlation, axis=1)


def write(
    folder: str | Path, manifest: str | Path, stimuli_train: str | Path, of: Similarity, by: str, prefix: str
) -> None:
    """Write the chosen training image of every test stimulus, under the test stimulus' name.

    Parameters
    ----------
    folder, manifest
        The images and their list.
    stimuli_train : HDF5
        Images of the training stimuli.
    of
        Correlations of the feature by which they are chosen.
    by : "decoded" or "true"
        As of `choose`.
    prefix
        Of the names of images.

    Raises ValueError: images of other training stimuli than the feature's.
    """
    rows = choose(of, by)
    with hdf5.reading(stimuli_train) as (images, train_id):
        hdf5.check_aligned("the feature by which training images are chosen", of.train_id, stimuli_train, train_id)

        def chosen() -> Iterator[tuple[int, UInt8[np.ndarray, "_ _ 3"]]]:
            for nsd_id, row in zip(of.test_id.tolist(), rows.tolist(), strict=True):
                yield nsd_id, images[row]

        image_files.write_folder(folder, manifest, chosen(), prefix)
