"""Generalisation: how well decoded features identify their stimuli under the default split and the further ones (splits).

In:  results/{subject}/{data/stimuli.tsv, features, ridge}, results/{subject}_{name}/{data/stimuli.tsv, ridge}
Out: results/{subject}/generalisation/{scores.csv, scores.md, per_stimulus.csv, by_split.svg, by_distance.svg}
"""


rule generalisation:
    input:
        tables=lambda wildcards: [
            f"<results>/{each}/data/stimuli.tsv"
            for each in folders_of_splits(wildcards.subject)
        ],
        predicted=lambda wildcards: [
            f"<results>/{each}/ridge/{feature}_test.h5"
            for each in folders_of_splits(wildcards.subject)
            for feature in FEATURES
        ],
        true=[
            f"<results>/{{subject}}/features/{feature}_{split}.h5"
            for feature in FEATURES
            for split in ("train", "test")
        ],
        sources=stimulus_sources("<results>/{subject}"),
    output:
        directory("<results>/{subject}/generalisation"),
    log:
        "<results>/{subject}/logs/generalisation.log",
    benchmark:
        "<results>/{subject}/benchmarks/generalisation.tsv"
    wildcard_constraints:
        subject="|".join(cfg.subjects),
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("metrics.bootstrap", "metrics.control_seed"),
        splits=[DEFAULT_SPLIT, *cfg.named_splits],
        features=FEATURES,
        space=SPACE_OF_DISTANCES,
        clusters=clusters_of_stimuli(),
        dataset_label=lambda wildcards: label_of_splits(wildcards.subject),
        code=code("evaluation/generalisation.py"),
    script:
        "../../workflow_scripts/evaluation/generalisation.py"
