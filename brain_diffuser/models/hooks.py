"""What layers of a network return on the way, without a change of the network."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def kept_outputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """The outputs of modules, in the order in which they run, as long as the context lasts."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output)

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(keep))
        yield outputs


@contextmanager
def called_on_inputs(
    modules: Sequence[nn.Module], function: Callable[[Any, tuple[Tensor, ...]], None]
) -> Iterator[None]:
    """Call `function(module, inputs)` before each of the modules runs, as long as the context lasts."""
    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_pre_hook(function))
        yield
