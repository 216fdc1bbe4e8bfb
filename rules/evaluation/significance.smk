"""Significance: permutation tests of a subject's scores, and of differences between sets of images.

In:  results/{subject}/data/stimuli_test.h5, folders of images, perceptual_scores, the networks' weights
Out: results/{subject}/significance/{tests.csv, differences.csv, tests.md}
"""

PAIR_SCORES = "<results>/{subject}/shards/pair_scores/{images}/"


rule pair_scores:
    input:
        shards=of_shards(
            "perceptual_scores",
            "<results>/{subject}/shards/perceptual_scores/{images}/{network}/{span}.h5",
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        temp(directory(f"{PAIR_SCORES}{{network}}")),
    log:
        "<results>/{subject}/logs/pair_scores_{images}_{network}.log",
    benchmark:
        "<results>/{subject}/benchmarks/pair_scores_{images}_{network}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(30),
    params:
        code=lambda wildcards: code(
            "evaluation/pair_scores.py", scorers=wildcards.network
        ),
    script:
        "../../workflow_scripts/evaluation/pair_scores.py"


rule pair_scores_of_pixels:
    input:
        stimuli="<results>/{subject}/data/stimuli_test.h5",
        images=lambda wildcards: folder(wildcards.images),
        manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
    output:
        temp(directory(f"{PAIR_SCORES}{{scorer}}")),
    log:
        "<results>/{subject}/logs/pair_scores_{images}_{scorer}.log",
    benchmark:
        "<results>/{subject}/benchmarks/pair_scores_{images}_{scorer}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(240),
    params:
        cfg={
            **settings("metrics.protocol"),
            "significance.pairings": cfg.significance.pairings,
            "significance.seed": cfg.significance.seed,
        },
        code=lambda wildcards: code(
            "evaluation/pair_scores_of_pixels.py", scorers=wildcards.scorer
        ),
    script:
        "../../workflow_scripts/evaluation/pair_scores_of_pixels.py"


rule significance:
    input:
        **perceptual_scores(cfg.significance.images),
        **{
            f"pairs_{images}": [
                PAIR_SCORES.replace("{images}", images) + scorer for scorer in SCORERS
            ]
            for images in cfg.significance.images
        },
    output:
        report(
            directory("<results>/{subject}/significance"),
            patterns=["tests.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/significance.log",
    benchmark:
        "<results>/{subject}/benchmarks/significance.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        cfg=cfg.significance.model_dump(),
        against=set_to_compare_with(),
        metrics=METRICS,
        dataset_label=lambda wildcards: label_of_split(wildcards.subject).name,
        code=code("evaluation/significance.py"),
    script:
        "../../workflow_scripts/evaluation/significance.py"
