"""A small random tower of CLIP-vision with wide weights."""

import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from brain_diffuser.models.clip import ClipLayers

NSD_ID = np.array([2950, 7, 14], np.int32)
BLOCKS = [1, 3]
SHAPE = (2, 5, 16)
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}


def tower() -> ClipLayers:
    """Images of 8 pixels, 5 tokens; weights larger than at birth, for features that differ."""
    torch.manual_seed(1)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=4, **TOWER))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return ClipLayers(model.eval().requires_grad_(False), (0.5, 0.4, 0.3), (0.3, 0.2, 0.25))
