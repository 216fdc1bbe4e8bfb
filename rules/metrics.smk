"""Stage 6, metrics: how much first guesses and reconstructions resemble what was seen, in numbers and on one page.

In:  results/{subject}/{nsd/stimuli_test.h5, nsd/captions.json, stage1, recon} and their manifests
Out: results/{subject}/{metrics/metrics.tsv, metrics/per_image.csv, contact_sheet.png}
"""

PICTURES = {
    "stimuli": "results/{subject}/nsd/stimuli_test.h5",
    "stage1": "results/{subject}/stage1",
    "stage1_manifest": "results/{subject}/stage1_manifest.tsv",
    "recon": "results/{subject}/recon",
    "recon_manifest": "results/{subject}/recon_manifest.tsv",
}


rule metrics:
    input:
        **PICTURES,
    output:
        table="results/{subject}/metrics/metrics.tsv",
        per_image="results/{subject}/metrics/per_image.csv",
    log:
        "results/{subject}/logs/metrics.log",
    benchmark:
        "results/{subject}/benchmarks/metrics.tsv"
    conda:
        "../envs/judges.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=settings("metrics"),
        code=code("metrics.py"),
    script:
        "../workflow_scripts/metrics.py"


rule contact_sheet:
    input:
        **PICTURES,
        captions="results/{subject}/nsd/captions.json",
    output:
        "results/{subject}/contact_sheet.png",
    log:
        "results/{subject}/logs/contact_sheet.log",
    benchmark:
        "results/{subject}/benchmarks/contact_sheet.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        n_stimuli=24,
        code=code("contact_sheet.py"),
    script:
        "../workflow_scripts/contact_sheet.py"
