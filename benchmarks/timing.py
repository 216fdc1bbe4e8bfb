"""What the benchmarks of networks share: a process for each way, seconds of the processor, the machine's peak beside.

Processes run as the workflow's do: threads that wait for each other sleep.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is imported

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

PEAK_SIZE = 2048


class Way(NamedTuple):
    """Something to be timed, and the precision of its products."""

    run: Callable[[], Any]
    dtype: str
    n: int = 1
    """How many images, or other units, a run makes."""


class Row(NamedTuple):
    """A way's median seconds for one of its units, and its share of the machine's peak."""

    seconds: float
    share: float


def alone(function: Callable, *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def in_turn(
    ways: Mapping[str, Way], repeats: int, device: str = "cpu", check: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Row]:
    """Times of some ways, which run in turn, so that what disturbs one disturbs all.

    Every way is warmed up first; `check` gets what they return then.

    Shares count each way's own products and convolutions. The peak is what a product of two matrices of `PEAK_SIZE`
    reaches in the same precision, timed in the same turns.
    """
    counters, outputs = {name: Counter() for name in ways}, {}
    for name, way in ways.items():
        with counters[name]:
            outputs[name] = way.run()
    if check:
        check(outputs)
    matrices = {
        way.dtype: torch.randn(PEAK_SIZE, PEAK_SIZE, device=device).to(getattr(torch, way.dtype))
        for way in ways.values()
    }
    runs = {name: way.run for name, way in ways.items()}
    runs |= {f"peak, {dtype}": lambda matrix=matrix: matrix @ matrix for dtype, matrix in matrices.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(timed(run, device))
    median = {name: statistics.median(each) for name, each in seconds.items()}
    fastest = {dtype: 2 * PEAK_SIZE**3 / median[f"peak, {dtype}"] for dtype in matrices}
    return {
        name: Row(median[name] / way.n, counters[name].total / median[name] / fastest[way.dtype])
        for name, way in ways.items()
    }


def timed(run: Callable[[], Any], device: str = "cpu") -> float:
    """Seconds of the processor that a run takes, which other jobs disturb least; on a GPU seconds until it is done."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


class Counter(TorchDispatchMode):
    """Counts the operations of products, convolutions and attention; torch's own counter takes no `autograd.grad`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        count = COUNTS.get(func._overloadpacket)
        if count is None:
            with self:
                composed = func.decompose(*args, **kwargs or {})
            if composed is not NotImplemented:
                return composed
        output = func(*args, **kwargs or {})
        self.total += count(*args, **kwargs or {}, out_val=output) if count else 0
        return output


def flops(run: Callable[[], Any]) -> int:
    """Operations of a run's matrix products, convolutions and attention."""
    with Counter() as counter:
        run()
    return counter.total


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> int:
    """Of the kernel of processors, which torch's table lacks."""
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward(_: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *__: Any, **___: Any):
    return 5 * sdpa_flop_count(query.shape, key.shape, value.shape) // 2  # five products where there were two


COUNTS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def peak_gib(device: str = "cpu") -> float:
    """The most memory that this process has taken; on a GPU the most that torch has."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**30
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kib / 2**20


def spread_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """The root mean square of the difference of two tensors, in units of the first one's standard deviation."""
    first, second = first.float(), second.float()
    return ((first - second).square().mean().sqrt() / first.std()).item()
