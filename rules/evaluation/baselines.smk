"""Baselines: the training image that the decoded feature resembles most, its oracle, and a table beside reconstructions.

In:  results/{subject}/{data/stimuli_train.h5, similarity, perceptual_scores}
Out: results/{subject}/{references/{nearest_training, nearest_training_oracle} and their manifests, baselines}
"""


rule nearest_training:
    input:
        similarity=f"<results>/{{subject}}/similarity/{cfg.evidence.nearest_by}.h5",
        train="<results>/{subject}/data/stimuli_train.h5",
    output:
        images=directory(f"{REFERENCE}nearest_training"),
        manifest=f"{REFERENCE}nearest_training_manifest.tsv",
    log:
        "<results>/{subject}/logs/nearest_training.log",
    benchmark:
        "<results>/{subject}/benchmarks/nearest_training.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(30),
    params:
        by="decoded",
        prefix=ADAPTER.prefix,
        code=code("evaluation/nearest_training.py"),
    script:
        "../../workflow_scripts/evaluation/nearest_training.py"


use rule nearest_training as nearest_training_oracle with:
    output:
        images=directory(f"{REFERENCE}nearest_training_oracle"),
        manifest=f"{REFERENCE}nearest_training_oracle_manifest.tsv",
    log:
        "<results>/{subject}/logs/nearest_training_oracle.log",
    benchmark:
        "<results>/{subject}/benchmarks/nearest_training_oracle.tsv"
    params:
        by="true",
        prefix=ADAPTER.prefix,
        code=code("evaluation/nearest_training.py"),


use rule metrics as baselines with:
    input:
        **perceptual_scores(cfg.evidence.baselines),
    output:
        report(
            directory("<results>/{subject}/baselines"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/baselines.log",
    benchmark:
        "<results>/{subject}/benchmarks/baselines.tsv"
    params:
        cfg=settings("metrics"),
        sets=cfg.evidence.baselines,
        metrics=METRICS,
        dataset_label=list(DATASET_LABEL),
        code=code("evaluation/metrics.py"),
