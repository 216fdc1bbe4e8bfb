"""The image encoder of IP-Adapters, CLIP's vision tower of ViT-H/14: one embedding of an image, or all its tokens."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import checkpoints, model_files, torch_builds
from brain_diffuser.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing

with torch_builds.importing("transformers"):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, PreTrainedConfig

PUBLISHED = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "projection_dim": 1024,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}
"""The description of ViT-H/14, for a folder that has the weights alone."""


class AdapterVision:
    """Images -> what IP-Adapters read of them.

    Source: Ye et al. 2023, arXiv 2308.06721; the tower is that of Ilharco et al. 2021, OpenCLIP.
    """

    def __init__(self, model: CLIPVisionModelWithProjection, preprocess: Preprocessing):
        self.model = model
        self.preprocess = preprocess

    @classmethod
    def load(
        cls, adapters: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> "AdapterVision":
        """The tower in `models/image_encoder/` or `image_encoder/` of the folder of the adapters.

        Without `config.json` it is the published tower; without a description of preprocessing, in the tower's folder
        or in `image_feature_extractor/`, images are prepared as for CLIP.

        Raises FileNotFoundError: there are no weights. ValueError: tensors or preprocessing of another model.
        """
        folder = Path(adapters) / model_files.adapter_encoder(adapters)
        described, path = dict[str, Any](PUBLISHED), folder / "config.json"
        if system_faults.is_file(path):
            known = {field.name for field in dataclasses.fields(CLIPVisionConfig)}
            known -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
            described = {key: value for key, value in checkpoints.read_config(folder).items() if key in known}
        with (
            checkpoints.describing(f"{path} describes no vision tower of CLIP (", described, ")"),
            torch.device("meta"),
        ):
            model: Any = CLIPVisionModelWithProjection(CLIPVisionConfig(**described))
        tensors_file = checkpoints.find_tensors(folder, "model")
        tensors = checkpoints.read_tensors(tensors_file, lambda name: not name.endswith(".position_ids"))
        checkpoints.fill(model, tensors, tensors_file, "the image encoder of IP-Adapters", device=device, dtype=dtype)
        embeddings = model.vision_model.embeddings
        positions = torch.arange(embeddings.num_positions)[None]
        embeddings.register_buffer("position_ids", positions, persistent=False)
        size = model.config.image_size
        return cls(model.to(device).eval().requires_grad_(False), _preprocessing(folder, size))

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(tokens, dim) of what `pooled` and `tokens` give for an image."""
        config, tower = self.model.config, self.model.vision_model
        return {"pooled": (1, config.projection_dim), "tokens": (tower.embeddings.num_positions, config.hidden_size)}

    def pooled(self, images: UInt8[np.ndarray, "images height width 3"]) -> Float[Tensor, "images 1 dim"]:
        """The projected embedding of each image, not divided by its length, float32."""
        return self.model(self._pixels(images)).image_embeds.float()[:, None]

    def tokens(self, images: UInt8[np.ndarray, "images height width 3"]) -> Float[Tensor, "images tokens dim"]:
        """The states of all tokens below the last layer, float32."""
        return self._states(self._pixels(images))

    def unconditional_tokens(self) -> Float[Tensor, "1 tokens dim"]:
        """The tokens of the unconditional pass: those of pixels that are all 0 after normalisation."""
        size: Any = self.model.config.image_size
        return self._states(torch.zeros(1, 3, size, size, device=self.model.device, dtype=self.model.dtype))

    def _pixels(self, images: np.ndarray) -> Tensor:
        return self.preprocess(images).to(self.model.device, self.model.dtype)

    @torch.no_grad()
    def _states(self, pixels: Tensor) -> Tensor:
        return self.model(pixels, output_hidden_states=True).hidden_states[-2].float()


def _preprocessing(folder: Path, size: int) -> Preprocessing:
    """The described preprocessing, or CLIP's for a tower that reads `size` pixels.

    Raises ValueError: it makes images of another size than the tower reads.
    """
    places = (folder, folder.parent / "image_feature_extractor")
    described = next((each for each in places if (each / model_files.preprocessing(each)).is_file()), None)
    if described is None:
        return Preprocessing(size, (size, size), Image.Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)
    preprocess = Preprocessing.load(described)
    if preprocess.crop != (size, size):
        raise ValueError(
            f"{described} crops images to {preprocess.crop} pixels, {folder} reads {size}; expected the same. Are both "
            "of one model?"
        )
    return preprocess
