"""The records of registries, checked before any job: a slip in one would show late, or never, as a wrong score."""

from collections import Counter
from collections.abc import Iterator

from brain_diffuser.decoding.registry import DECODERS
from brain_diffuser.evaluation.registry import SCORERS
from brain_diffuser.features.registry import FEATURES
from brain_diffuser.workflow.config import messages

KINDS = ("similarity", "distance", "two_way")


def check() -> None:
    """Raises ValueError: a record that no job can use as it is meant."""
    for problem in (*_of_features(), *_of_decoders(), *_of_metrics()):
        raise ValueError(problem)


def _of_features() -> Iterator[str]:
    for name, record in FEATURES.items():
        place = f"brain_diffuser/features/registry.py: feature {name} has"
        if record.reads not in ("images", "captions"):
            yield f'{place} reads="{record.reads}"; expected images or captions'
        if isinstance(record.axes, str) or not record.axes:
            yield f'{place} axes={record.axes!r}; expected a tuple of names, such as ("{record.axes}",)'
        if not record.alpha > 0:
            yield f"{place} alpha={record.alpha}; expected a penalty above 0"


def _of_decoders() -> Iterator[str]:
    for name, record in DECODERS.items():
        if record.predictions.partition("/")[0] != name:
            yield (
                f"brain_diffuser/decoding/registry.py: decoder {name} writes {record.predictions}; expected "
                f'{name}/..., so give both one name: "{name}": plain_decoder("{name}", ...)'
            )


def _of_metrics() -> Iterator[str]:
    seen = Counter(metric for scorer in SCORERS.values() for metric in scorer.metrics)
    for name, scorer in SCORERS.items():
        for metric, record in scorer.metrics.items():
            place = f"brain_diffuser/evaluation/registry.py: metric {metric} of {name} has"
            if record.kind not in KINDS:
                yield f'{place} kind "{record.kind}"; {messages.unknown_name(record.kind, KINDS, expected="one of")}'
            if scorer.load is None and record.score is None:
                yield f"{place} no function; expected Metric(label, kind, function)"
            if scorer.load is None and record.kind == "two_way":
                yield f'{place} kind "two_way", which compares layers of a network; expected similarity or distance'
            if seen[metric] > 1:
                yield f"{place} the name of another metric; give it one of its own"
