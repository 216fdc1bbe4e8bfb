"""The record of a decoder: what turns betas into features, and where its predictions lie."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


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
