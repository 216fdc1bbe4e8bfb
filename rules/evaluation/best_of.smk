"""Best_of: variants whose images are the best of several samples, chosen without the stimulus (docs/best_of.md).

In:  the samples (results/{subject}/recon, variants/{variant}.seed_1/recon, ...), their CLIP-vision embeddings or the betas
     that these predict, results/{subject}/ridge/clip_vision_test.h5 or data/betas_test.h5, perceptual_scores
Out: results/{subject}/variants/{variant}/{recon/*.png, recon_manifest.tsv, choice.csv, best_of}
"""

CHOOSING = "|".join(map(re.escape, cfg.choosing)) or "none"


rule best_of:
    input:
        unpack(samples_of_variant),
        like=what_chooses,
    output:
        images=directory("<results>/{subject}/variants/{variant}/recon"),
        manifest="<results>/{subject}/variants/{variant}/recon_manifest.tsv",
        choice="<results>/{subject}/variants/{variant}/choice.csv",
    log:
        "<results>/{subject}/logs/variant_{variant}_best_of.log",
    benchmark:
        "<results>/{subject}/benchmarks/variant_{variant}_best_of.tsv"
    wildcard_constraints:
        variant=CHOOSING,
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(5000),
        runtime=scaled_by_attempt(60),
    params:
        by=lambda wildcards: choice_of(wildcards).by,
        prefix=ADAPTER.prefix,
        code=code("evaluation/best_of.py"),
    script:
        "../../workflow_scripts/evaluation/best_of.py"


rule best_of_scores:
    input:
        unpack(scores_of_samples),
        choice="<results>/{subject}/variants/{variant}/choice.csv",
    output:
        report(
            directory("<results>/{subject}/variants/{variant}/best_of"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/variant_{variant}_best_of_scores.log",
    benchmark:
        "<results>/{subject}/benchmarks/variant_{variant}_best_of_scores.tsv"
    wildcard_constraints:
        variant=CHOOSING,
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=settings("metrics.protocol", "metrics.bootstrap", "metrics.control_seed"),
        n_samples=lambda wildcards: choice_of(wildcards).of,
        by=lambda wildcards: CHOSEN_BY[choice_of(wildcards).by],
        dependent=SEEN_BY_CHOOSERS,
        metrics=METRICS,
        title=title_of_choice,
        code=code("evaluation/best_of_scores.py"),
    script:
        "../../workflow_scripts/evaluation/best_of_scores.py"
