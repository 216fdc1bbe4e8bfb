"""Types at every call of the package's functions, and shapes where there are arrays, without slowing tests much.

By pytest's option `--jaxtyping-packages` every function of the package is decorated by `jaxtyping.jaxtyped`. That takes
some 20 microseconds a call to agree on the sizes of axes, and half a millisecond each time that a function is defined.
"""

import inspect
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

jaxtyped = jaxtyping.jaxtyped
checked = beartype(conf=BeartypeConf(violation_type=TypeError))


def install() -> None:
    """Decorate as needed from now on; called before the package is imported."""
    jaxtyping.jaxtyped = lambda typechecker: decorated


def decorated(each: Any) -> Any:
    """A function that checks shapes and types, or types alone where it has no arrays; one inside another stays."""
    if inspect.isfunction(each):
        if "<locals>" in each.__qualname__:  # it would be decorated each time that the other runs
            return each
        if not any(map(has_axes, inspect.get_annotations(each).values())):
            return checked(each)
    return jaxtyped(each, typechecker=checked)


def has_axes(annotation: Any) -> bool:
    """Whether a type is, or consists of, arrays whose axes are named."""
    is_array = isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray)
    return isinstance(annotation, str) or is_array or any(map(has_axes, get_args(annotation)))
