"""The record of a decoder: what turns betas into features, and where its predictions lie."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Decoder(NamedTuple):
    """A way from a subject's betas to features, which variants name by `decoder:`.

    Records are read by the configuration and the rules, so a module with a record imports torch only inside functions.
    """

    predictions: str
    """Path of the predictions below a subject's results, with {feature} in it."""
    init_images: str
    """Folder of the stage-1 reconstructions from its VDVAE latents, below a subject's results."""
    axes: tuple[tuple[str, ...], ...] | None = None
    """Axes of the features that it can decode; None is every feature."""
    fit_predict: Callable[..., None] | None = None
    """(betas_train, betas_test, features_train, out, own settings) writes the predictions, all of them paths of HDF5
    files; None for decoders that have rules of their own."""
    settings: Mapping[str, Any] = {}
    """Its own settings and their defaults, which `decoders.<name>` in config.yaml may change."""

    def can_decode(self, axes: tuple[str, ...]) -> bool:
        """Whether a feature with these axes can be decoded."""
        return self.axes is None or axes in self.axes


def check_predictions(name: str, predictions: str | Path, betas_test: str | Path, features: str | Path) -> None:
    """Check what a decoder has written against the stimuli and the feature that it was asked for.

    Raises ValueError: predictions of other stimuli, in another order, or of another shape than the feature's.
    """
    from brain_diffuser.artifacts import hdf5

    with hdf5.reading(betas_test) as (_, wanted):
        expected = (len(wanted), *hdf5.load(features, slice(0, 1)).values.shape[1:])
    found = hdf5.load(predictions)
    if found.values.shape != expected or not np.array_equal(found.nsd_id, wanted):
        raise ValueError(
            f"decoder {name} wrote {found.values.shape} for nsd_id {found.nsd_id[0]}, ... into {predictions}; expected "
            f"{expected} for the nsd_id of {betas_test} in their order, so correct its fit_predict"
        )


def plain_decoder(
    name: str, fit_predict: Callable[..., None], axes: tuple[tuple[str, ...], ...] | None = None, **settings: Any
) -> Decoder:
    """The record of a decoder that is one function, which the rule `decode` runs.

    Parameters
    ----------
    name : str
        Its name in the registry, and of its folder of results.
    fit_predict : callable
        (betas_train, betas_test, features_train, out, own settings) writes the predictions.
    axes : tuples of axis names, optional
        Axes of the features that it can decode; None is every feature.
    settings
        Its own settings with their defaults.
    """
    return Decoder(f"{name}/{{feature}}_test.h5", f"{name}/stage1", axes, fit_predict, settings)
