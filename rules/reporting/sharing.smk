"""Sharing: images, scores, settings and receipts of all subjects as one folder that others can have (docs/sharing.md).

In:  results/{subject}/{stage1, recon, metrics, retrieval, accuracy, data/{stimuli.tsv, betas_test.h5},
     ridge/{feature}_test.h5}, the program
Out: results/bundle
"""


rule bundle:
    input:
        **{
            images: of_subjects(f"<results>/{{subject}}/{images}")
            for images in ("stage1", "recon")
        },
        **{
            f"manifest_{images}": of_subjects(
                f"<results>/{{subject}}/{images}_manifest.tsv"
            )
            for images in ("stage1", "recon")
        },
        metrics=of_subjects("<results>/{subject}/metrics"),
        retrieval=of_subjects("<results>/{subject}/retrieval/retrieval.csv"),
        accuracy=of_subjects("<results>/{subject}/accuracy"),
        design=of_subjects("<results>/{subject}/data/stimuli.tsv"),
        betas=of_subjects("<results>/{subject}/data/betas_test.h5"),
        predictions=predictions_of_test_stimuli(),
        arrays=shared_arrays(),
        pages=shared_pages(),
        source=source_files_of_bundle,
    output:
        directory("<results>/bundle"),
    log:
        "<results>/logs/bundle.log",
    benchmark:
        "<results>/benchmarks/bundle.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(30),
    params:
        about=about_bundle(),
        settings={
            key: value
            for key, value in WRITTEN_SETTINGS.items()
            if key not in ("results", "datasets", "fetch", "bundle")
        },
        dataset_settings=WRITTEN_SETTINGS["datasets"][cfg.dataset],
        code=code("reporting/bundle.py"),
    script:
        "../../workflow_scripts/reporting/bundle.py"
