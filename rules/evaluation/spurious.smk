"""Spurious: whether scores say more than that test and training stimuli are alike, with alarms.

In:  results/{subject}/{data, features, ridge, similarity, feature_identification, perceptual_scores}
Out: results/{subject}/{output_dimensions/{feature}.csv, spurious}
"""


rule output_dimensions:
    input:
        train="<results>/{subject}/features/{feature}_train.h5",
        test="<results>/{subject}/features/{feature}_test.h5",
        decoded="<results>/{subject}/ridge/{feature}_test.h5",
        kernel="<results>/{subject}/ridge/kernel.h5",
    output:
        "<results>/{subject}/output_dimensions/{feature}.csv",
    log:
        "<results>/{subject}/logs/output_dimensions_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/output_dimensions_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("metrics.control_seed"),
        code=code("evaluation/output_dimensions.py"),
    script:
        "../../workflow_scripts/evaluation/output_dimensions.py"


rule spurious:
    input:
        **perceptual_scores(SETS_OF_SPURIOUS),
        identification="<results>/{subject}/feature_identification",
        dimensions=[
            f"<results>/{{subject}}/output_dimensions/{feature}.csv"
            for feature in cfg.evidence.features
        ],
        similarity=f"<results>/{{subject}}/similarity/{SPACE_OF_DISTANCES}.h5",
        feature_test=f"<results>/{{subject}}/features/{SPACE_OF_DISTANCES}_test.h5",
        feature_train=f"<results>/{{subject}}/features/{SPACE_OF_DISTANCES}_train.h5",
        stimuli_test="<results>/{subject}/data/stimuli_test.h5",
        stimuli_train="<results>/{subject}/data/stimuli_train.h5",
        sources=sources_of_subject,
    output:
        report(
            directory("<results>/{subject}/spurious"),
            patterns=["alarms.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/spurious.log",
    benchmark:
        "<results>/{subject}/benchmarks/spurious.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        cfg=settings("metrics.bootstrap", "metrics.control_seed"),
        features=cfg.evidence.features,
        metrics=METRICS,
        dataset_label=DATASET_LABEL.name,
        code=code("evaluation/spurious.py"),
    script:
        "../../workflow_scripts/evaluation/spurious.py"
