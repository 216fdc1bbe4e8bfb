"""All features by name. A new feature is one file beside this one and one line here (docs/extend.md)."""

from brain_diffuser.features import clip_layers, clip_text, clip_vision, sd_text, vdvae

FEATURES = {
    "vdvae": vdvae.FEATURE,
    "clip_text": clip_text.FEATURE,
    "clip_vision": clip_vision.FEATURE,
    "clip_layers": clip_layers.FEATURE,
    "sd_text": sd_text.FEATURE,
}
