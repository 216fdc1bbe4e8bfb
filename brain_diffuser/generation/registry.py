"""All backbones by name. A new backbone is one file beside this one and one line here (docs/extend.md)."""

from brain_diffuser.generation import stable_diffusion, versatile_diffusion

BACKBONES = {
    "versatile_diffusion": versatile_diffusion.BACKBONE,
    "stable_diffusion": stable_diffusion.BACKBONE,
}
