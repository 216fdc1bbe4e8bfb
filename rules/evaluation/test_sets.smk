"""Test sets: scores of a trained decoder on other experiments, among all targets and within sets of them.

In:  results/{subject}_{name}/{data/targets.tsv, features, ridge}, pair scores of its images
Out: results/{subject}_{name}/test_set/{scores.csv, scores.md}
"""

SCORED_IMAGES = ("stage1", "recon")
IMAGE_FEATURES = tuple(
    name for name in FEATURES if FEATURE_RECORDS[name].reads == "images"
)


rule test_set_scores:
    input:
        unpack(pairs_of_test_set),
        targets="<results>/{subject}/data/targets.tsv",
        predicted=[
            f"<results>/{{subject}}/ridge/{feature}_test.h5"
            for feature in IMAGE_FEATURES
        ],
        true=[
            f"<results>/{{subject}}/features/{feature}_test.h5"
            for feature in IMAGE_FEATURES
        ],
    output:
        report(
            directory("<results>/{subject}/test_set"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/test_set_scores.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_scores.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
    params:
        cfg={
            "permutations": cfg.significance.permutations,
            "seed": cfg.significance.seed,
        },
        features=IMAGE_FEATURES,
        images=lambda wildcards: list(pairs_of_test_set(wildcards, by_name=True)),
        metrics=METRICS,
        dataset_label=DATASET_LABEL.name,
        about=lambda wildcards: test_set_of(wildcards.subject)[0].about,
        notes=notes_of_test_set,
        code=code("evaluation/test_set_scores.py"),
    script:
        "../../workflow_scripts/evaluation/test_set_scores.py"
