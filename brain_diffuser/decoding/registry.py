"""All decoders by name. A new decoder is one file beside this one and one line here (docs/extend.md)."""

from brain_diffuser.decoding.decoder import Decoder

LEARNED_KINDS = {("tokens", "dim"): "embeddings", ("blocks", "tokens", "dim"): "embeddings", ("latents",): "latents"}
"""Which losses a learned decoder has for a feature, by the feature's axes."""

DECODERS = {
    "ridge": Decoder("ridge/{feature}_test.h5", "stage1"),
    "learned": Decoder("learned/{feature}_test.h5", "learned/stage1", axes=tuple(LEARNED_KINDS)),
}
