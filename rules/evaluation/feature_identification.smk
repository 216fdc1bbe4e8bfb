"""Identification of decoded features among true ones, and of true features among decoded ones.

In:  results/{subject}/{features, ridge}
Out: results/{subject}/{similarity/{feature}.h5, feature_identification}
"""


rule similarity:
    input:
        decoded="<results>/{subject}/ridge/{feature}_test.h5",
        test="<results>/{subject}/features/{feature}_test.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
    output:
        "<results>/{subject}/similarity/{feature}.h5",
    log:
        "<results>/{subject}/logs/similarity_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/similarity_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        code=code("evaluation/similarity.py"),
    script:
        "../../workflow_scripts/evaluation/similarity.py"


rule feature_identification:
    input:
        similarity=[
            f"<results>/{{subject}}/similarity/{feature}.h5"
            for feature in cfg.evidence.features
        ],
        clusters=features_of_clusters,
    output:
        report(
            directory("<results>/{subject}/feature_identification"),
            patterns=["identification.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/feature_identification.log",
    benchmark:
        "<results>/{subject}/benchmarks/feature_identification.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(30),
    params:
        cfg=settings("metrics.bootstrap", "metrics.control_seed"),
        features=cfg.evidence.features,
        clusters=clusters_of_stimuli(),
        dataset_label=DATASET_LABEL.name,
        code=code("evaluation/feature_identification.py"),
    script:
        "../../workflow_scripts/evaluation/feature_identification.py"
