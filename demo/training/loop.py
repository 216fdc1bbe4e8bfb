"""One plain training loop for every demo model: warm-up and a schedule, averaged weights, resumable.

The rows and the noise of a step follow from (seed, step) alone, so a run that was killed goes on as if it had not been.
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

from brain_diffuser.models import precisions

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
    decay: int | None = None,
    orthogonal: bool = False,
) -> nn.Module:
    """The averaged weights (exponential, `averaging` a step) after `steps` steps of `batch_size` random rows.

    The rate falls as a cosine over all steps, or, with `decay`, stays constant and falls along a line over the last
    `decay` steps: such a run may be ended early, or prolonged. A step whose gradient norm exceeds `skip` is left out.
    AdamW makes the steps, or, if `orthogonal`, of weight matrices `Orthogonal`. `{name}.pt` in folder holds the state,
    `{name}.jsonl` the losses every 50 steps.
    """
    averaged = copy.deepcopy(model).requires_grad_(False)
    matrices = [p for p in model.parameters() if orthogonal and min(p.flatten(1).shape if p.ndim > 1 else (0,)) > 8]
    others = [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98), fused=True)
    ]
    if matrices:
        optimisers.append(Orthogonal(matrices, lr))
    checkpoint, first = folder / f"{name}.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        for optimiser, theirs in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(theirs)
        first = state["step"]
        log.info("%s: going on from step %d", name, first)
    seen: list[dict[str, float]] = []
    start = time.monotonic()
    for step in range(first, steps):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = lr * rate_at(step, steps, warmup, decay)
        rows = np.random.default_rng((seed, step)).integers(n_rows, size=batch_size)
        value, parts = loss(model, rows, torch.Generator().manual_seed(seed * 2**32 + step))
        model.zero_grad(set_to_none=True)
        value.backward()
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
        if norm < skip:
            for optimiser in optimisers:
                optimiser.step()
            kept = min(averaging, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - kept)
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
                "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "step": step + 1,
            }
            part = checkpoint.with_suffix(".part")
            torch.save(state, part)
            os.replace(part, checkpoint)
    return averaged.eval()


class Orthogonal(torch.optim.Optimizer):
    """Steps of weight matrices whose singular values are all about one: Muon, with convolutions as matrices.

    No direction of a matrix waits for the few that dominate its gradient. The root mean square of a step is 0.2 of the
    rate, about as with AdamW.

    Source: K. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/ (iteration and coefficients); Liu et al.
    2025, arXiv 2502.16982 (size of the steps).
    """

    MOMENTUM, STEPS, COEFFICIENTS = 0.95, 5, (3.4445, -4.7750, 2.0315)

    def __init__(self, matrices: list[nn.Parameter], lr: float):
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            same: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    same.setdefault(tuple(matrix.flatten(1).shape), []).append(matrix)
            for (rows, columns), matrices in same.items():
                directions = []
                for matrix in matrices:
                    mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
                    mean.lerp_(matrix.grad, 1 - self.MOMENTUM)
                    directions.append(matrix.grad.lerp(mean, self.MOMENTUM).flatten(1))
                size = 0.2 * max(rows, columns) ** 0.5
                for matrix, direction in zip(matrices, self.orthogonalised(torch.stack(directions)), strict=True):
                    matrix.add_(direction.view_as(matrix), alpha=-group["lr"] * size)

    @classmethod
    def orthogonalised(cls, matrices: torch.Tensor) -> torch.Tensor:
        """Matrices (n, rows, columns) with singular values brought to between 0.7 and 1.2, by Newton-Schulz steps.

        All steps are polynomials of the square of the matrices, so they are made on squares, a third of the work for
        the widest; the matrices are multiplied once, at the end.
        """
        first, second, third = cls.COEFFICIENTS
        is_tall = matrices.shape[1] > matrices.shape[2]
        wide = matrices.mT if is_tall else matrices
        wide = wide / (torch.linalg.matrix_norm(wide)[:, None, None] + 1e-7)
        square = wide @ wide.mT
        identity = torch.eye(square.shape[1])
        product = identity.expand_as(square)
        for _ in range(cls.STEPS):
            step = torch.baddbmm(first * identity + second * square, square, square, alpha=third)
            product, square = step @ product, step @ step @ square
        wide = product @ wide
        return wide.mT if is_tall else wide


def rate_at(step: int, steps: int, warmup: int, decay: int | None) -> float:
    """Share of the highest rate: a cosine down to 0.01, or 1 and at the end a line down to 0.01."""
    falling = 0.5 + 0.5 * math.cos(math.pi * step / steps) if decay is None else min(1.0, (steps - step) / decay)
    return min(1, (step + 1) / warmup) * (0.01 + 0.99 * falling)


def precision() -> contextlib.AbstractContextManager:
    """What a forward pass is computed in: bfloat16 where the processor multiplies it, else float32.

    On two cores with AVX512-BF16 a step of the UNet takes 0.70 s in bfloat16 and 1.04 s in float32.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=precisions.choose("cpu") == "bfloat16")
