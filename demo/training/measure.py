"""Scenes that measure the demo's models: development scenes choose, fresh scenes are looked at once, at the end."""

SEEDS = {"development": 1, "fresh": 74_202}
"""Of the scenes' streams of the same names; no model is trained on either stream."""
N_SCENES = 600
