"""Brain-Diffuser: from fMRI to images. The stages in order; each is a rule file, thin scripts and a library module."""

from snakemake.utils import min_version

min_version("9.20")


include: "rules/config_files.smk"


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/data/functions.smk"
include: "rules/data/split_functions.smk"
include: "rules/data/test_set_functions.smk"
include: "rules/features/functions.smk"
include: "rules/decoding/functions.smk"
include: "rules/generation/functions.smk"
include: "rules/evaluation/functions.smk"
include: "rules/reporting/functions.smk"
include: "rules/workflow/functions.smk"
include: "rules/workflow/fetch.smk"


for name in filter(None, (ADAPTER.rules, "stages")):

    include: f"rules/data/{name}.smk"


include: "rules/data/splits.smk"
include: "rules/data/test_sets.smk"
include: "rules/data/regions.smk"
include: "rules/features/features.smk"
include: "rules/decoding/ridge.smk"
include: "rules/generation/stage1.smk"
include: "rules/generation/recon.smk"
include: "rules/decoding/learned.smk"
include: "rules/decoding/decode.smk"
include: "rules/decoding/bottleneck.smk"
include: "rules/decoding/test_sets.smk"
include: "rules/generation/variants.smk"
include: "rules/generation/references.smk"
include: "rules/evaluation/metrics.smk"
include: "rules/generation/chosen.smk"
include: "rules/generation/named.smk"
include: "rules/generation/neuraldiffuser.smk"
include: "rules/generation/generators.smk"
include: "rules/evaluation/significance.smk"
include: "rules/evaluation/accuracy.smk"
include: "rules/evaluation/generalisation.smk"
include: "rules/evaluation/scaling.smk"
include: "rules/evaluation/feature_identification.smk"
include: "rules/evaluation/baselines.smk"
include: "rules/evaluation/spurious.smk"
include: "rules/evaluation/test_sets.smk"
include: "rules/evaluation/brain.smk"
include: "rules/evaluation/best_of.smk"
include: "rules/regions/volumes.smk"
include: "rules/regions/roi.smk"
include: "rules/reporting/rating.smk"
include: "rules/reporting/report.smk"
include: "rules/reporting/sharing.smk"


if ADAPTER.analyses:

    include: f"rules/evaluation/{ADAPTER.analyses}.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        of_subjects("<results>/{subject}/chosen/contact_sheet.png")
        if cfg.recon.only != chosen.ALL
        else [
            *of_subjects("<results>/{subject}/recon"),
            *of_subjects("<results>/{subject}/metrics"),
            *of_subjects("<results>/{subject}/retrieval/retrieval.csv"),
            *of_subjects("<results>/{subject}/contact_sheet.png"),
            *of_splits("<results>/{subject}/metrics"),
            *of_splits("<results>/{subject}/contact_sheet.png"),
            *of_generalisation(),
            *of_test_sets("<results>/{subject}/metrics"),
            *of_test_sets("<results>/{subject}/contact_sheet.png", has_words=True),
            *scored_test_sets(),
            "<results>/report.html",
            "<results>/report_figures",
            "<results>/resource_usage.csv",
        ],


include: "rules/workflow/rehearsal.smk"
include: "rules/workflow/estimate.smk"


CODE.save()


if workflow.is_main_process and not IS_MODULE:
    check_targets()


onstart:
    write_dataset()


onsuccess:
    if workflow.touch:
        with exit_with_message():
            ARTIFACTS.take_over()
    for line in closing_lines():
        print(line, file=sys.stderr)


onerror:
    for line in watch.failures(watch.newest_log()):
        print(line, file=sys.stderr)
