"""One plain training loop for every demo model: AdamW, warm-up and cosine decay, averaged weights, resumable.

The rows and the noise of a step follow from (seed, step) alone, so a run that was killed goes on as if it had not been.
"""

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
    checkpoint_every: int = 200,
) -> nn.Module:
    """The averaged weights (exponential, `averaging` a step) after `steps` steps of `batch_size` random rows.

    A step whose gradient norm exceeds `skip` is left out. `{name}.pt` in folder holds the state, `{name}.jsonl` the
    losses every 50 steps.
    """
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
    start = time.monotonic()
    for step in range(first, steps):
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        rate = lr * min(1, (step + 1) / warmup) * (0.01 + 0.99 * cosine)
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = np.random.default_rng((seed, step)).integers(n_rows, size=batch_size)
        value, parts = loss(model, rows, torch.Generator().manual_seed(seed * 2**32 + step))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
        if norm < skip:
            optimiser.step()
            decay = min(averaging, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
        seen.append({"loss": value.item(), "norm": norm, **parts})
        if (step + 1) % 50 == 0:
            mean = {key: round(float(np.mean([s[key] for s in seen])), 5) for key in seen[0]}
            seen.clear()
            speed = (time.monotonic() - start) / (step + 1 - first)
            with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step + 1, "seconds_a_step": round(speed, 3), **mean}) + "\n")
        if (step + 1) % checkpoint_every == 0 or step + 1 == steps:
            state = {
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
            }
            part = checkpoint.with_suffix(".part")
            torch.save(state, part)
            os.replace(part, checkpoint)
    return averaged.eval()
