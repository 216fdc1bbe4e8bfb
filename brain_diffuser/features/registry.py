"""All features by name. A new feature is one file beside this one and one line here (docs/extend.md)."""

from typing import Any

from brain_diffuser.features import clip_h, clip_layers, clip_text, clip_vision, sd_text, sdxl_text, vdvae

FEATURES = {
    "vdvae": vdvae.FEATURE,
    "clip_text": clip_text.FEATURE,
    "clip_vision": clip_vision.FEATURE,
    "clip_layers": clip_layers.FEATURE,
    "sd_text": sd_text.FEATURE,
    "clip_h_pooled": clip_h.POOLED,
    "clip_h_tokens": clip_h.TOKENS,
    "sdxl_text": sdxl_text.TEXT,
    "sdxl_pooled": sdxl_text.POOLED,
    "sdxl_prompt": sdxl_text.PROMPT,
}


def check_embedded(values: Any, n_stimuli: int, feature: str) -> None:
    """Raises ValueError: what a feature's `embed` returned has too few rows, or not the axes of its record."""
    axes = FEATURES[feature].axes
    if values.ndim != 1 + len(axes) or len(values) < n_stimuli:
        raise ValueError(
            f"feature {feature}: embed returned {tuple(values.shape)} for a batch of {n_stimuli} stimuli; expected "
            f"(stimuli, {', '.join(axes)}), so correct it, or the axes of its record"
        )
