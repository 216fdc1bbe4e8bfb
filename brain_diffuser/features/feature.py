"""The record of a feature: what stimuli are turned into, by which model, and what config and rules know of it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple


class Feature(NamedTuple):
    """A target of decoding: the numbers that a network computes from a stimulus image or from its captions.

    Records are read by the configuration and the rules, so a module with a record imports torch only inside functions.
    """

    reads: Literal["images", "captions"]
    """What the network is given of a stimulus."""
    axes: tuple[str, ...]
    """Names of the axes of one stimulus' feature."""
    key: str
    """The key of `datasets.*` in config.yaml that leads to the model; no other feature has to use it."""
    files: Callable[[Mapping[str, str]], list[str]]
    """(paths of the dataset by key) -> the files and folders that the network is read from."""
    load: Callable[..., Any]
    """(path under `key`, device=, dtype=) -> the model."""
    embed: Callable[..., Any]
    """(images or captions of a batch, nsd_id, model, own settings) -> tensor with one row per stimulus."""
    alpha: float
    """Penalty of its ridge where `ridge.alpha` in config.yaml does not name the feature; above 0."""
    on_demand: bool = True
    """False for the features of Brain-Diffuser itself, which every run predicts; the others are made when asked for."""
    at_reconstruction_size: bool = False
    """Whether `embed` takes `image_size` (px), the size of reconstructions, to which images are brought first."""
    settings: Mapping[str, Any] = {}
    """Its own settings and their defaults, which `features.<name>` in config.yaml may change."""
