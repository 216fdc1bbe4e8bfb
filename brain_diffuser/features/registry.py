"""All features by name. A new feature is one file beside this one and one line here (docs/extend.md)."""

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
