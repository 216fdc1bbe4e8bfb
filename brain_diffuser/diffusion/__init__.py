"""Versatile Diffusion's image flow guided by text and vision together, and the sampler that runs it."""
