"""All backbones by name. A new backbone is one file beside this one and one line here (docs/extend.md)."""

from brain_diffuser.generation import ip_adapter, stable_diffusion, versatile_diffusion

BACKBONES = {
    "versatile_diffusion": versatile_diffusion.BACKBONE,
    "stable_diffusion": stable_diffusion.BACKBONE,
    "ip_adapter_sd15": ip_adapter.SD15,
    "ip_adapter_plus_sd15": ip_adapter.PLUS_SD15,
    "ip_adapter_sdxl": ip_adapter.SDXL,
    "ip_adapter_plus_sdxl": ip_adapter.PLUS_SDXL,
}
