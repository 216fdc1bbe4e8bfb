"""The algebra of variants: all settings of a set of images, and which sets differ in guidance alone."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from brain_diffuser.generation.registry import BACKBONES

REPEAT = "seed_"
CHOOSERS = ("decoded", "predicted_betas")
"""By what the best of several samples can be chosen: what was decoded from the brain, and measured betas."""


def split_seed_suffix(name: str) -> tuple[str, int]:
    """A variant and the number of its repeat: (neuraldiffuser, 3) of neuraldiffuser.seed_3; of seed_3 no variant."""
    found = re.fullmatch(rf"(?:(.+)\.|){REPEAT}(\d+)", name)
    return (found[1] or "", int(found[2])) if found else (name, 0)


def variant_regex(variants: Iterable[str], choosing: Collection[str] = ()) -> str:
    """A regular expression of variants and their repeats; that without a name, of recon's, has repeats alone.

    So have those that choose the best of several samples: their own images are no samples.
    """
    found = [
        rf"{re.escape(each)}(?:\.{REPEAT}\d+){'' if each in choosing else '?'}" if each else rf"{REPEAT}\d+"
        for each in variants
    ]
    return "|".join(found) or "none"


class Variants(NamedTuple):
    """The sections of a configuration that variants are made of. The variant without a name is recon itself.

    Parameters
    ----------
    named
        The section `variants`, {name: variant}.
    plain
        A variant that changes nothing.
    recon, guidance
        The sections of these names, which variants change.
    blocks
        `features.clip_layers.blocks`.
    """

    named: Mapping[str, Any]
    plain: Any
    recon: Mapping[str, Any]
    guidance: Mapping[str, Any]
    blocks: Sequence[int]

    def variant(self, name: str) -> tuple[Any, dict[str, Any]]:
        """A variant and all settings of its reconstructions; `seed_3` is the third repeat with another seed.

        So is `neuraldiffuser.seed_3` of that variant. Where text alone is read, `text_weight` is 1.
        """
        name, repeat = split_seed_suffix(name)
        variant = self.named[name] if name else self.plain
        changed = variant.model_dump(
            exclude={"backbone", "start", "features", "decoder", "rank", "guidance", "choose"}, exclude_none=True
        )
        settings = dict(self.recon) | changed
        if "vision" not in BACKBONES[variant.backbone].conditions:
            settings["text_weight"] = 1.0
        return variant, settings | {"seed": settings["seed"] + repeat}

    def guidance_of(self, name: str) -> dict[str, Any]:
        """All settings of a variant's guidance; empty if nothing guides it.

        `layer_weights` has one number for each of `features.clip_layers.blocks`: 0 for those of `without`, 1 for those
        that no number was given for.

        Raises ValueError: they name more blocks than there are, or others.
        """
        name, _ = split_seed_suffix(name)
        if name not in self.guided:
            return {}
        return self._with_guidance(self.named[name].guidance.model_dump(exclude_none=True), name)

    @property
    def choosing(self) -> tuple[str, ...]:
        """The variants that choose the best of several samples."""
        return tuple(name for name, variant in self.named.items() if variant.choose is not None)

    def samples_of(self, name: str) -> tuple[str, ...]:
        """The sets of images of which a variant chooses: those of its settings with one seed after the other.

        They are recon or another variant of the same settings, if there is one, and its repeats, so that all variants
        with these settings share samples; the first one has the seed of the configuration.
        """
        plain = (each for each in ("", *self.named) if each not in self.choosing)
        base = next((each for each in plain if self._sampled(each) == self._sampled(name)), None)
        numbers = range(1, self.named[name].choose.of)
        if base == "":
            return "recon", *(f"{REPEAT}{number}" for number in numbers)
        first = f"{name}.{REPEAT}0" if base is None else base
        return first, *(f"{name if base is None else base}.{REPEAT}{number}" for number in numbers)

    def _sampled(self, name: str) -> tuple[Any, ...]:
        """How a variant's samples are made."""
        return *self._made(name)[:-1], self.guidance_of(name)

    @property
    def guided(self) -> tuple[str, ...]:
        """The variants that guidance steers."""
        return tuple(name for name, variant in self.named.items() if variant.guidance is not None)

    def unguided_of(self, name: str) -> str | None:
        """The image set a guided variant is compared with: recon or a variant that differs in `kappa` alone, if any.

        Self-attention guidance is not compared: the other variant has as much of it, and a kappa of 0.
        """
        sag_scale = self.guidance_of(name)["sag_scale"]
        for other in ("", *self.named):
            guidance = self.guidance_of(other) or {"kappa": 0.0, "sag_scale": 0.0}
            if self._made(other) == self._made(name) and (guidance["kappa"], guidance["sag_scale"]) == (0, sag_scale):
                return other or "recon"
        return None

    @property
    def grid(self) -> dict[tuple[float, float], str]:
        """{(kappa, eta): the guided variant that differs from `recon` and `guidance` in these alone}."""
        cells = {}
        for name in self.guided:
            settings = self.guidance_of(name)
            others = self._with_guidance({key: settings[key] for key in ("kappa", "eta")}, name)
            if self._made(name) == self._made("") and settings == others:
                cells[settings["kappa"], settings["eta"]] = name
        return dict(sorted(cells.items()))

    def _with_guidance(self, changed: Mapping[str, Any], name: str) -> dict[str, Any]:
        """`guidance` with what a variant changes, as `guidance_of` gives it."""
        settings = {**self.guidance, **changed}
        weights, without = settings["layer_weights"], settings.pop("without")
        others = [block for block in without if block not in self.blocks]
        if others:
            raise ValueError(
                f"config.yaml: guidance.without of variant {name} names block {others[0]}, features.clip_layers.blocks "
                f"has {', '.join(map(str, self.blocks))}; name some of these"
            )
        if len(weights) > len(self.blocks):
            raise ValueError(
                f"config.yaml: guidance.layer_weights of variant {name} has {len(weights)} numbers for "
                f"{len(self.blocks)} blocks of features.clip_layers; expected at most one for each"
            )
        weights = [*weights, *[1.0] * (len(self.blocks) - len(weights))]
        kept = [weight * (block not in without) for block, weight in zip(self.blocks, weights, strict=True)]
        if not any(kept):
            raise ValueError(
                f"config.yaml: no block of variant {name} has a weight in guidance.layer_weights; expected one above 0"
            )
        return settings | {"layer_weights": kept}

    def _made(self, name: str) -> tuple[Any, ...]:
        """How a variant's images are made, but for guidance; recon's without a name."""
        variant, settings = self.variant(name)
        return (
            variant.backbone,
            variant.start,
            variant.features,
            variant.decoder,
            variant.rank,
            settings,
            variant.choose,
        )
