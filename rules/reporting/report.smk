"""Stage 7, report: one page that opens offline, with all subjects' images, scores and how they were made.

In:  results/{subject}/{data, stage1, recon, variants, metrics or ablations, retrieval, benchmarks}
Out: results/{report.html, resource_usage.csv}
"""

TABLES = "ablations" if cfg.report.ablations else "metrics"
COLUMNS = ["stage1", "recon", *(ABLATED if cfg.report.ablations else [])]
# What feeds what, without the shortcuts; a test compares it with Snakemake's own graph.
STAGES = [
    ("design", "betas"),
    ("design", "stimuli"),
    ("design", "captions"),
    ("betas", "ridge_kernel"),
    ("betas", "regions"),
    ("betas", "encoding"),
    ("stimuli", "features"),
    ("stimuli", "mean_image"),
    ("stimuli", "autoencoder_reference"),
    ("captions", "features"),
    ("features", "ridge"),
    ("features", "vdvae_reference"),
    ("features", "encoding_kernel"),
    ("ridge_kernel", "ridge"),
    ("ridge", "stage1"),
    ("ridge", "retrieval"),
    ("ridge", "accuracy"),
    ("stage1", "recon"),
    ("recon", "pixels"),
    ("recon", "perceptual_scores"),
    ("mean_image", "pixels"),
    ("mean_image", "perceptual_scores"),
    ("vdvae_reference", "pixels"),
    ("vdvae_reference", "perceptual_scores"),
    ("autoencoder_reference", "pixels"),
    ("autoencoder_reference", "perceptual_scores"),
    ("pixels", "metrics"),
    ("perceptual_scores", "metrics"),
    ("metrics", "report"),
    ("retrieval", "report"),
    ("encoding_kernel", "encoding"),
    ("encoding", "accuracy"),
    ("regions", "accuracy"),
    ("accuracy", "report"),
]


rule report:
    input:
        stimuli=of_subjects("<results>/{subject}/data/stimuli_test.h5"),
        captions=of_subjects("<results>/{subject}/data/captions.json"),
        retrieved=of_subjects("<results>/{subject}/retrieval/captions.json"),
        retrieval=of_subjects("<results>/{subject}/retrieval/retrieval.csv"),
        accuracy=of_subjects("<results>/{subject}/accuracy"),
        tables=of_subjects(f"<results>/{{subject}}/{TABLES}"),
        images=of_subjects(*map(folder, COLUMNS)),
        manifests=of_subjects(*(f"{folder(each)}_manifest.tsv" for each in COLUMNS)),
        regions=of_regions(),
        guidance=of_guidance(),
    output:
        page=report("<results>/report.html", category="Report"),
        costs="<results>/resource_usage.csv",
    log:
        "<results>/logs/report.log",
    benchmark:
        "<results>/benchmarks/report.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
    params:
        subjects=cfg.subjects,
        columns=COLUMNS,
        dataset_label=list(DATASET_LABEL),
        settings={
            key: value
            for key, value in WRITTEN_SETTINGS.items()
            if key not in ("results", "demo", "compute", "provenance", "fetch")
            and (key != "guidance" or cfg.report.guidance)
            and (key != "variants" or cfg.report.ablations or cfg.report.guidance)
        },
        edges=STAGES,
        code=code("reporting/report.py"),
    script:
        "../../workflow_scripts/reporting/report.py"
