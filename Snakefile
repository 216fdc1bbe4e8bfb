"""Brain-Diffuser: from fMRI to images. The stages in order; each is a rule file, thin scripts and a library module."""

from snakemake.utils import min_version

min_version("9.20")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/fetch.smk"


for name in DATASET_RULES:

    include: f"rules/{name}.smk"


include: "rules/regions.smk"
include: "rules/features.smk"
include: "rules/ridge.smk"
include: "rules/stage1.smk"
include: "rules/recon.smk"
include: "rules/learned.smk"
include: "rules/variants.smk"
include: "rules/references.smk"
include: "rules/metrics.smk"
include: "rules/neuraldiffuser.smk"
include: "rules/accuracy.smk"
include: "rules/brain.smk"
include: "rules/volumes.smk"
include: "rules/roi.smk"
include: "rules/report.smk"


for name in MORE_RULES:

    include: f"rules/{name}.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        expand("<results>/{subject}/recon", subject=cfg.subjects),
        expand("<results>/{subject}/metrics", subject=cfg.subjects),
        expand("<results>/{subject}/retrieval/retrieval.csv", subject=cfg.subjects),
        expand("<results>/{subject}/contact_sheet.png", subject=cfg.subjects),
        "<results>/report.html",
        "<results>/costs.csv",


onstart:
    write_dataset()


onsuccess:
    if workflow.touch:
        ARTIFACTS.take_over()
    for line in image_locations():
        print(line, file=sys.stderr)


onerror:
    for line in watch.failures(watch.newest_log()):
        print(line, file=sys.stderr)
