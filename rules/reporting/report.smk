"""Report: one page that opens offline, with all subjects' images, scores and how they were made.

In:  results/{subject}/{data, ridge, stage1, recon, variants, metrics or ablations, retrieval, benchmarks}
Out: results/{report.html, report_figures, resource_usage.csv}
"""

TABLES = "ablations" if cfg.report.ablations else "metrics"
COLUMNS = ["stage1", "recon", *(ABLATED if cfg.report.ablations else [])]


rule report:
    input:
        **{f"images_{images}": of_subjects(folder(images)) for images in COLUMNS},
        **{
            f"manifest_{images}": of_subjects(f"{folder(images)}_manifest.tsv")
            for images in COLUMNS
        },
        stimuli=of_subjects(shown_stimuli("<results>/{subject}/data")),
        captions=of_subjects("<results>/{subject}/data/captions.json"),
        names=[
            path
            for subject in cfg.subjects
            if (path := stim_files(f"<results>/{subject}"))
        ],
        retrieved=of_subjects("<results>/{subject}/retrieval/captions.json"),
        retrieval=of_subjects("<results>/{subject}/retrieval/retrieval.csv"),
        accuracy=of_subjects("<results>/{subject}/accuracy"),
        tables=of_subjects(f"<results>/{{subject}}/{TABLES}"),
        design=of_subjects("<results>/{subject}/data/stimuli.tsv"),
        betas=of_subjects("<results>/{subject}/data/betas_test.h5"),
        predictions=predictions_of_test_stimuli(),
        penalties=alphas_to_show(".svg"),
        regions=of_regions(),
        guidance=of_guidance(),
        generalisation=of_generalisation(),
        spurious=of_evidence("spurious"),
        identification=of_evidence("feature_identification"),
        baselines=of_evidence("baselines"),
        experiments=scored_test_sets(),
        significance=(
            of_subjects("<results>/{subject}/significance")
            if cfg.report.significance
            else []
        ),
        bottleneck=(
            of_subjects("<results>/{subject}/bottleneck")
            if cfg.report.bottleneck
            else []
        ),
        scaling=(
            of_subjects("<results>/{subject}/scaling") if cfg.report.scaling else []
        ),
    output:
        page=report("<results>/report.html", category="Report"),
        figures=directory("<results>/report_figures"),
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
            if key
            not in ("results", "demo", "compute", "provenance", "fetch", "bundle")
            and (key != "guidance" or cfg.report.guidance)
            and (key != "variants" or cfg.report.ablations or cfg.report.guidance)
        },
        metrics=METRICS,
        about=about_run(),
        edges=lambda wildcards: stage_graph.simplified(
            stage_graph.of_workflow(workflow, "report")
        ),
        code=code("reporting/report.py"),
    script:
        "../../workflow_scripts/reporting/report.py"
