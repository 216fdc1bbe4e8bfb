"""Input and parameter functions of the rules of the report."""

import brain_diffuser
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


def shared_pages():
    """The pages of a bundle: they show stimuli, unless these are simulated or left out of pages."""
    if PATHS.show_stimuli and not PATHS.simulated:
        return []
    return [
        "<results>/report.html",
        "<results>/report_figures",
        *of_subjects("<results>/{subject}/contact_sheet.png"),
    ]


def predictions_of_test_stimuli():
    """What texts of methods read the penalties from: the predictions of every feature and subject."""
    return [
        path
        for feature in FEATURES
        for path in of_subjects(f"<results>/{{subject}}/ridge/{feature}_test.h5")
    ]


def shared_arrays():
    """The arrays that bundle.include names, of the test stimuli."""
    places = {"predictions": "ridge", "features": "features"}
    return [
        path
        for name in cfg.bundle.include
        for feature in FEATURES
        for path in of_subjects(
            f"<results>/{{subject}}/{places[name]}/{feature}_test.h5"
        )
    ]


def source_files_of_bundle(wildcards):
    """The files of the program."""
    patterns = (
        *(
            "Snakefile",
            "LICENSE",
            "CITATION.cff",
            "pyproject.toml",
            "requirements*.txt",
        ),
        *("envs/*.yaml", "rules/**/*.smk", "workflow_scripts/**/*.py"),
        *(
            f"brain_diffuser/**/*.{ending}"
            for ending in ("py", "tsv", "json", "css", "js", "j2")
        ),
    )
    found = sorted({path for each in patterns for path in ROOT.glob(each)})
    return local([os.path.relpath(path) for path in found])


def about_run():
    """What texts of methods say of a run beyond its settings."""
    disclaimer = PATHS.custom.disclaimer if PATHS.custom else ""
    return {
        "adapter": PATHS.adapter_name,
        "disclaimer": disclaimer or "",
        "is_simulated": PATHS.simulated,
        "sessions": {subject: len(read) for subject, read in SESSIONS.items() if read},
        "networks": {
            name: sorted(
                {
                    each.kind
                    for each in evaluation_registry.SCORERS[name].metrics.values()
                }
            )
            for name in cfg.metrics.networks
        },
    }


def about_bundle():
    """What a bundle says of itself and of its dataset."""
    return {
        **about_run(),
        "name": cfg.bundle.name or f"Images decoded from {cfg.dataset}",
        "license": cfg.bundle.license,
        "source": cfg.bundle.source,
        "authors": cfg.bundle.authors,
        "subjects": cfg.subjects,
        "dataset": cfg.dataset,
        "terms": ADAPTER.stimuli_terms,
        "program": brain_diffuser.__version__,
    }
