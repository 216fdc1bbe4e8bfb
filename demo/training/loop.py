"""One plain training loop for every demo model: AdamW, warm-up and a schedule, averaged weights, resumable.

The rows and the noise of a step follow from (seed, step) alone, so a run that was killed goes on as if it had not been.
With a constant rate the averaged weights are worth having at any step, and a run may be ended early, with a decay of
its own, or prolonged.
"""

import contextlib
import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

log = logging.getLogger(__name__)


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, np.ndarray, torch.Generator], tuple[torch.Tensor, dict[str, float]]],
    *,
    name: str,
    folder: Path,
    n_rows: int,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int = 0,
    weight_decay: float = 0.01,
    clip: float = 1.0,
    skip: float = float("inf"),
    averaging: float = 0.999,
    warmup: int = 200,
    decay: int | None = None,
    checkpoint_minutes: float = 3.0,
) -> nn.Module:
    """The averaged weights (exponential, `averaging` a step) after `steps` steps of `batch_size` random rows.

    The rate falls as a cosine over all steps, or, if `decay` is given, stays constant and falls along a line over the
    last `decay` steps. A step whose gradient norm exceeds `skip` is left out. `{name}.pt` in folder holds the state,
    written every `checkpoint_minutes`; `{name}.jsonl` holds the losses every 50 steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    averaged = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98), fused=True)
    checkpoint, first = folder / f"{name}.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        log.info("%s: going on from step %d", name, first)
    seen: list[dict[str, float]] = []
    start = saved = time.monotonic()
    for step in range(first, steps):
        rate = lr * rate_at(step, steps, warmup, decay)
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = np.random.default_rng((seed, step)).integers(n_rows, size=batch_size)
        value, parts = loss(model, rows, torch.Generator().manual_seed(seed * 2**32 + step))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
        if norm < skip:
            optimiser.step()
            kept = min(averaging, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - kept)
        seen.append({"loss": value.item(), "norm": norm, **parts})
        if (step + 1) % 50 == 0:
            mean = {key: round(float(np.mean([s[key] for s in seen])), 5) for key in seen[0]}
            seen.clear()
            speed = (time.monotonic() - start) / (step + 1 - first)
            with (folder / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps({"step": step + 1, "seconds_a_step": round(speed, 3), **mean}) + "\n")
        if time.monotonic() - saved > 60 * checkpoint_minutes or step + 1 == steps:
            state = {
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
            }
            with checkpoint.with_suffix(".part").open("wb") as part:
                torch.save(state, part)
                os.fsync(part.fileno())
            os.replace(part.name, checkpoint)
            saved = time.monotonic()
    return averaged.eval()


def precision(bfloat16: bool) -> contextlib.AbstractContextManager:
    """What a forward pass is computed in: bfloat16 where that is safe, or float32.

    bfloat16 takes 1.5 times as long as float32 on a processor with AVX512-BF16 alone; it pays with AMX.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)


def rate_at(step: int, steps: int, warmup: int, decay: int | None) -> float:
    """Share of the highest rate: a cosine down to 0.01, or 1 and at the end a line down to 0.01."""
    if decay is None:
        falling = 0.5 + 0.5 * math.cos(math.pi * step / steps)
    else:
        falling = min(1.0, (steps - step) / max(decay, 1))
    return min(1, (step + 1) / warmup) * (0.01 + 0.99 * falling)


def load_averaged(model: nn.Module, name: str, folder: Path) -> int:
    """Fill the model with the averaged weights of a run's last checkpoint; its step."""
    state = torch.load(folder / f"{name}.pt", weights_only=True)
    model.load_state_dict(state["averaged"])
    return state["step"]
