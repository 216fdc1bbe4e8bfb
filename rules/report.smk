"""Stage 7, report: one page that opens offline, with all subjects' images, scores and how they were made.

In:  results/{subject}/{nsd, stage1, recon, variants, metrics or ablations, retrieval, benchmarks}
Out: results/{report.html, costs.csv}
"""

TABLES = "ablations" if cfg.report.ablations else "metrics"
COLUMNS = ["stage1", "recon", *(ABLATED if cfg.report.ablations else [])]
# What feeds what, without the shortcuts; a test compares it with Snakemake's own graph.
STAGES = [
    ("nsd_design", "nsd_betas"),
    ("nsd_design", "nsd_stimuli"),
    ("nsd_design", "nsd_captions"),
    ("nsd_betas", "ridge_kernel"),
    ("nsd_betas", "nsd_regions"),
    ("nsd_betas", "encoding"),
    ("nsd_stimuli", "features"),
    ("nsd_stimuli", "mean_image"),
    ("nsd_stimuli", "autoencoder_reference"),
    ("nsd_captions", "features"),
    ("features", "ridge"),
    ("features", "vdvae_reference"),
    ("features", "encoding_kernel"),
    ("ridge_kernel", "ridge"),
    ("ridge", "stage1"),
    ("ridge", "retrieval"),
    ("ridge", "accuracy"),
    ("stage1", "recon"),
    ("recon", "pixels"),
    ("recon", "judged"),
    ("mean_image", "pixels"),
    ("mean_image", "judged"),
    ("vdvae_reference", "pixels"),
    ("vdvae_reference", "judged"),
    ("autoencoder_reference", "pixels"),
    ("autoencoder_reference", "judged"),
    ("pixels", "metrics"),
    ("judged", "metrics"),
    ("metrics", "report"),
    ("retrieval", "report"),
    ("encoding_kernel", "encoding"),
    ("encoding", "accuracy"),
    ("nsd_regions", "accuracy"),
    ("accuracy", "report"),
]


rule report:
    input:
        stimuli=of_subjects("<results>/{subject}/nsd/stimuli_test.h5"),
        captions=of_subjects("<results>/{subject}/nsd/captions.json"),
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
        costs="<results>/costs.csv",
    log:
        "<results>/logs/report.log",
    benchmark:
        "<results>/benchmarks/report.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
    params:
        subjects=cfg.subjects,
        columns=COLUMNS,
        world=list(WORLD),
        # paths of datasets as they are written, {results} in them: the same page wherever the folder lies
        settings={
            key: config["datasets"] if key == "datasets" else value
            for key, value in SETTINGS.items()
            if key not in ("results", "demo", "compute", "provenance", "fetch")
            and (key != "guidance" or cfg.report.guidance)
            and (key != "variants" or cfg.report.ablations or cfg.report.guidance)
        },
        edges=STAGES,
        code=code("report.py"),
    script:
        "../workflow_scripts/report.py"
