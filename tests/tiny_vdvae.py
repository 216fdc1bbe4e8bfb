"""The small VDVAE behind `data/vdvae_tiny`: outputs of the original program, its weights and noise."""

import functools
import json
from pathlib import Path

import golden_inputs
import numpy as np
import torch

from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig

DATA = Path(__file__).parent / "fixtures"
SEED, N_LATENTS = 1, 7


@functools.cache
def golden():
    """Facts about the original run, and its arrays."""
    return json.loads((DATA / "vdvae_tiny.json").read_text()), dict(np.load(DATA / "vdvae_tiny.npz"))


def config():
    of_the_original = dict(golden()[0]["config"])
    del of_the_original["custom_width_str"], of_the_original["dataset"]
    return VDVAEConfig(**of_the_original, n_latents=N_LATENTS)


def weights():
    facts, _ = golden()
    n_encoder, n_decoder = len(VDVAE(config()).encoder.enc_blocks), facts["n_dec_blocks"]
    return {
        name: torch.from_numpy(
            np.asarray(
                golden_inputs.vdvae_weight(SEED, name, shape, n_encoder, n_decoder, config().zdim, 3), np.float32
            )
        )
        for name, shape in facts["keys"]
    }


def model():
    tiny = VDVAE(config())
    tiny.load_state_dict(weights())
    return tiny.eval()


def eps(kind, tag, shapes, batch=2):
    """Noise of a golden run: `zero` is none at all."""
    if kind == "zero":
        return None
    return [torch.from_numpy(golden_inputs.vdvae_eps(SEED, tag, i, (batch, *shape))) for i, shape in enumerate(shapes)]
