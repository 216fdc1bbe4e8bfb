"""Rating: a page on which people say which of two stimuli a reconstruction is nearer to (docs/rating.md).

In:  results/{subject}/data/stimuli_test.h5, the folder of the images of rating.images
Out: results/{subject}/rating/{rating.html, trials.csv}
"""


rule rating:
    input:
        stimuli=rated_stimuli,
        images=folder(cfg.rating.images),
        manifest=f"{folder(cfg.rating.images)}_manifest.tsv",
    output:
        directory("<results>/{subject}/rating"),
    log:
        "<results>/{subject}/logs/rating.log",
    benchmark:
        "<results>/{subject}/benchmarks/rating.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=cfg.rating.model_dump(),
        dataset_label=list(DATASET_LABEL),
        code=code("reporting/rating.py"),
    script:
        "../../workflow_scripts/reporting/rating.py"
