"""Which keys of the configuration would shorten a planned run most, and by how much."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from brain_diffuser.workflow import resource_usage, speeds, watch
from brain_diffuser.workflow.config import schema

if TYPE_CHECKING:
    from brain_diffuser.workflow.estimate import Estimate

SHOWN = 3
WORTH = 0.02
"""Share of the CPU time that a key has to save to be named."""
DRAFT_STEPS = 25
FIRST_IMAGES = 8
FEW_STIMULI = 1000  # of the demo, a multiple of 250
REGION_RULES = ("optimal", "perturbed", "lesions", "category_probe", "roi", "brain", "volumes")


class Change(NamedTuple):
    """A change of the configuration.

    Parameters
    ----------
    text
        What to write into the configuration.
    sections : {section: {key: value}}
        What is changed in it.
    share
        How much of a job is left to do: 1, or 0 where it is not planned any more.
    """

    text: str
    sections: Mapping[str, Mapping[str, Any]]
    share: Callable[[watch.Job], float]


def changes(estimate: "Estimate", plan: Sequence[watch.Job]) -> Iterator[Change]:
    """What could be changed for these jobs, whether or not it saves anything."""
    cfg, dtype = estimate.cfg, estimate.sizes.dtype
    if cfg.recon.steps > DRAFT_STEPS:
        yield Change(f"recon.steps: {DRAFT_STEPS}", {"recon": {"steps": DRAFT_STEPS}}, _all)
    if dtype == "float32" and speeds.processor():
        yield Change("compute.dtype: bfloat16", {"compute": {"dtype": "bfloat16"}}, _all)
    if cfg.recon.only == "all" and any(job.stage == "recon" and job.span for job in plan):
        yield Change(f"recon.only: {FIRST_IMAGES}", {}, _first_images(estimate))
    subjects = {job.subject for job in plan} & set(cfg.subjects)
    if len(subjects) > 1:
        first = next(subject for subject in cfg.subjects if subject in subjects)
        yield Change(f"subjects: [{first}]", {}, lambda job: float(job.subject in (first, "")))
    for section, is_part in (("ablations", _is_variant), ("regions", _is_region), ("guidance", _is_guided)):
        if getattr(cfg.report, section):
            yield Change(f"report.{section}: false", {}, _without(is_part))
    yield from _shorter_lists(cfg, plan)


def _shorter_lists(cfg: schema.Config, plan: Sequence[watch.Job]) -> Iterator[Change]:
    """What lists and numbers of the configuration could be without."""
    variants = {job.values["variant"].partition(".seed_")[0] for job in plan if job.values.get("variant")}
    named = sorted(name for name in variants if name in cfg.variants)
    if len(named) > 1:
        yield Change(f"variants: without {', '.join(named[:3])}{', ...' * (len(named) > 3)}", {}, _without(_is_variant))
    if cfg.metrics.repeats > 2:
        yield Change("metrics.repeats: 2", {"metrics": {"repeats": 2}}, _without(_is_later_repeat(cfg)))
    for network in cfg.metrics.networks if len(cfg.metrics.networks) > 1 else ():
        yield Change(f"metrics.networks: without {network}", {}, _without(_is_of_network(network)))
    if cfg.roi.images > 1:
        yield Change("roi.images: 1", {"roi": {"images": 1}}, _all)
    few = FEW_STIMULI - cfg.demo.n_test
    if cfg.paths.simulated and 1 < few < cfg.demo.n_train:
        yield Change(f"demo.n_train: {few}", {"demo": {"n_train": few}}, _all)


def _all(job: watch.Job) -> float:
    return 1.0


def _without(is_part: Callable[[watch.Job], bool]) -> Callable[[watch.Job], float]:
    """The share of jobs that are not among some."""
    return lambda job: float(not is_part(job))


def _first_images(estimate: "Estimate") -> Callable[[watch.Job], float]:
    """What a run of a few images leaves: their share of the reconstructions, and no scores, references and report."""
    first = ("pixels", "perceptual", "metrics", "retrieval", "report", "accuracy", "encoding", "mean_image")
    first = (*first, "autoencoder_reference", "vdvae_reference", "variant", "guided", "ablations", "neuraldiffuser")
    first = (*first, "nearest_training", "baselines", "similarity", "feature_identification")
    first = (*first, "output_dimensions", "spurious")

    def share(job: watch.Job) -> float:
        if job.rule.startswith(first):
            return 0.0
        if job.stage not in ("recon", "stage1"):
            return 1.0
        return FIRST_IMAGES / max(FIRST_IMAGES, estimate.sizes.n_stimuli(job.subject, "test"))

    return share


def _is_of_network(network: str) -> Callable[[watch.Job], bool]:
    return lambda job: job.values.get("network") == network


def _is_variant(job: watch.Job) -> bool:
    return (
        bool(job.values.get("variant"))
        or job.rule == "ablations"
        or job.values.get("images", "")
        not in (
            *("", "stage1", "recon"),
            *schema.REFERENCES,
            *schema.BASELINES,
        )
    )


def _is_region(job: watch.Job) -> bool:
    return job.rule.startswith(REGION_RULES)


def _is_guided(job: watch.Job) -> bool:
    return job.rule.startswith(("guid", "neuraldiffuser")) or job.values.get("feature") == "clip_layers"


def _is_later_repeat(cfg: schema.Config) -> Callable[[watch.Job], bool]:
    """Whether a job makes the third repeat or a later one, which is not a sample of a variant that chooses."""
    samples = {images for name in cfg.choosing for images in cfg.samples_of(name)}

    def is_one(job: watch.Job) -> bool:
        variant = job.values.get("variant", "")
        number = variant.rpartition("seed_")[2]
        return number.isdecimal() and int(number) > 1 and variant not in samples

    return is_one


def saved(estimate: "Estimate", plan: Sequence[watch.Job]) -> list[tuple[float, Change]]:
    """Seconds of processors that each change saves, the most first; none of jobs that have no figure after it."""
    now = [(job, forecast.cpu) for job in plan if (forecast := estimate.forecast(job))]
    found = []
    for change in changes(estimate, plan):
        cfg = estimate.cfg.model_copy(
            update={name: getattr(estimate.cfg, name).model_copy(update=keys) for name, keys in change.sections.items()}
        )
        other = estimate.of_other(cfg, change.sections.get("compute", {}).get("dtype", estimate.sizes.dtype))
        found.append((sum((_saved(other, job, cpu, change.share(job)) for job, cpu in now), 0.0), change))
    return sorted(found, key=lambda pair: -pair[0])


def _saved(other: "Estimate", job: watch.Job, cpu: float, share: float) -> float:
    """CPU-seconds of a job that another estimate saves, which leaves a share of it to do."""
    if not share:
        return cpu
    forecast = other.forecast(job)
    return cpu - share * forecast.cpu if forecast else 0.0


def lines(estimate: "Estimate", plan: Sequence[watch.Job]) -> Iterator[str]:
    """The keys that would shorten the run most, with the time that each saves by itself."""
    least = WORTH * sum(forecast.cpu for job in plan if (forecast := estimate.forecast(job)))
    best = [(seconds, change.text) for seconds, change in saved(estimate, plan) if seconds > least][:SHOWN]
    if best:
        words = (f"{text} ({resource_usage.as_time(seconds / 3600)})" for seconds, text in best)
        yield f"These keys would save most of the CPU time, each by itself: {'; '.join(words)}."
