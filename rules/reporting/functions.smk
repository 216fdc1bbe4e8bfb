"""Input and parameter functions of the rules of the report."""

from brain_diffuser.reporting import published_scores, stage_graph

# What the report shows: config.yaml, without the settings and models that only a newly registered feature, decoder or
# backbone has. Paths of datasets are as they are written, {results} in them: the same page wherever the folder lies.
WRITTEN_SETTINGS = {key: SETTINGS[key] for key in SETTINGS if key != "decoders"}
for key, section in (("features", cfg.features), ("ridge", cfg.ridge)):
    WRITTEN_SETTINGS[key] = provenance.without_added(
        section.model_dump(exclude_unset=True), key
    )
WRITTEN_SETTINGS["datasets"] = {
    name: {
        key: value
        for key, value in dataset.items()
        if key in schema.Dataset.model_fields
    }
    for name, dataset in config["datasets"].items()
}


def rated_stimuli(wildcards):
    """The stimuli of a page for raters, which is of no use without them."""
    if not PATHS.show_stimuli:
        why = f" ({ADAPTER.stimuli_terms})" if ADAPTER.stimuli_terms else ""
        stop(
            f"config.yaml: datasets.{cfg.dataset}.show_stimuli is false, and {RESULTS}/{wildcards.subject}/rating shows the "
            f"stimuli to raters{why}; leave it out, or set show_stimuli to true if you may show them"
        )
    return f"<results>/{wildcards.subject}/data/stimuli_test.h5"


def of_regions():
    """The folders of the section on regions: of every subject, and of their average."""
    if not cfg.report.regions:
        return []
    average = ["<results>/average/roi"] if len(cfg.subjects) > 1 else []
    return of_subjects("<results>/{subject}/roi") + average


def of_guidance():
    """The folders of the section on guidance."""
    return of_subjects("<results>/{subject}/guidance") if cfg.report.guidance else []


def of_generalisation():
    """The folders of the section on further splits."""
    return of_subjects("<results>/{subject}/generalisation") if cfg.splits else []


def of_evidence(name):
    """The folders of a part of the section on evidence that reconstructions are not spurious."""
    return of_subjects(f"<results>/{{subject}}/{name}") if cfg.report.spurious else []
