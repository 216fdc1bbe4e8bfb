"""The features that condition each diffusion model; known without importing torch, so that rules can ask."""

CONDITIONS = {
    "versatile_diffusion": {"text": "clip_text", "vision": "clip_vision"},
    "stable_diffusion": {"text": "sd_text"},
}
"""The features that condition each diffusion model, by what they tell of."""
