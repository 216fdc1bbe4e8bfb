"""The record of a backbone: a diffusion model that reconstructs, and what config and rules must know of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Float


class LoadedBackbone(NamedTuple):
    """The networks of a backbone, and the embeddings of its unconditional pass, a tensor (1, tokens, dim) each."""

    models: tuple[Any, Any]
    """The denoiser and the autoencoder of its latents."""
    unconditional: tuple[Float[Any, "1 tokens dim"], ...]
    """In the order of the record's `conditions`."""


class Backbone(NamedTuple):
    """A diffusion model that variants name by `backbone:`.

    Records are read by the configuration and the rules, so a module with a record imports torch only inside functions.
    """

    conditions: Mapping[str, str]
    """The features that condition it: {"text": feature} or {"text": feature, "vision": feature}, in this order."""
    key: str
    """The key of `datasets.*` in config.yaml that leads to the model."""
    components: tuple[str, ...]
    """What is read of the folder of the model in diffusers' layout."""
    load: Callable[..., LoadedBackbone]
    """(folder, clip_folder, device, dtype) -> networks in `dtype`, embeddings in float32."""
    files: Callable[[Mapping[str, str]], list[str]] | None = None
    """(paths of the dataset by key) -> the files and folders that are read; None is all `components` of the folder."""

    def model_files(self, paths: Mapping[str, str]) -> list[str]:
        """The files and folders that the networks are read from."""
        if self.files:
            return self.files(paths)
        return [f"{paths[self.key]}/{component}" for component in self.components]
