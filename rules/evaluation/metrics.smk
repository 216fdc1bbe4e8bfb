"""Metrics: how much images resemble their stimuli, by pixels and by evaluation networks; tables; retrieval.

In:  results/{subject}/data/{stimuli_test.h5, captions.json}, folders of images, the networks' weights, the embeddings
Out: results/{subject}/{perceptual_scores/{images}/{scorer}.csv, metrics, ablations, consistency, retrieval,
     contact_sheet.png}
"""

SHOWN = ["stage1", "recon", *schema.REFERENCES]
ABLATIONS = [*SHOWN, *ABLATED]
REPEATS = [
    "recon",
    *(f"{schema.REPEAT}{number}" for number in range(1, cfg.metrics.repeats)),
]
# What scores images: pixel metrics and evaluation networks.
SCORERS = [evaluation_registry.ALWAYS, *cfg.metrics.networks]
NETWORKS = [name for name in SCORERS if evaluation_registry.is_network(name)]
# What tables say of metrics, those of this run and those that others have published: {name: [label, kind]}.
METRICS = evaluation_registry.describe(SCORERS, published_scores.published_metrics())


wildcard_constraints:
    scorer="|".join(name for name in SCORERS if name not in NETWORKS),
    network="|".join(NETWORKS) or "none",


rule pixels:
    input:
        stimuli="<results>/{subject}/data/stimuli_test.h5",
        images=lambda wildcards: folder(wildcards.images),
        manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
    output:
        "<results>/{subject}/perceptual_scores/{images}/{scorer}.csv",
    log:
        "<results>/{subject}/logs/perceptual_scores_{images}_{scorer}.log",
    benchmark:
        "<results>/{subject}/benchmarks/perceptual_scores_{images}_{scorer}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(60),
    params:
        cfg=settings("metrics.protocol", "metrics.control_seed"),
        code=lambda wildcards: code("evaluation/pixels.py", scorers=wildcards.scorer),
    script:
        "../../workflow_scripts/evaluation/pixels.py"


rule perceptual_scores_shard:
    input:
        stimuli="<results>/{subject}/data/stimuli_test.h5",
        images=lambda wildcards: folder(wildcards.images),
        manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
        weights=lambda wildcards: network_weights([wildcards.network]),
    output:
        temp(
            "<results>/{subject}/shards/perceptual_scores/{images}/{network}/{span}.h5"
        ),
    log:
        "<results>/{subject}/logs/perceptual_scores_{images}_{network}_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/perceptual_scores_{images}_{network}_{span}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30, each=0.03 if GPU else 0.2),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("metrics.protocol"),
        evaluation_networks=lambda wildcards: PATHS.evaluation_networks,
        clip=lambda wildcards: PATHS.clip if wildcards.network == "clip" else None,
        code=lambda wildcards: code(
            "evaluation/perceptual_scores_shard.py", scorers=wildcards.network
        ),
    script:
        "../../workflow_scripts/evaluation/perceptual_scores_shard.py"


rule perceptual_scores:
    input:
        shards=of_shards(
            "perceptual_scores",
            "<results>/{subject}/shards/perceptual_scores/{images}/{network}/{span}.h5",
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        "<results>/{subject}/perceptual_scores/{images}/{network}.csv",
    log:
        "<results>/{subject}/logs/perceptual_scores_{images}_{network}.log",
    benchmark:
        "<results>/{subject}/benchmarks/perceptual_scores_{images}_{network}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(30),
    params:
        cfg=settings("metrics.control_seed"),
        code=lambda wildcards: code(
            "evaluation/perceptual_scores.py",
            scorers=wildcards.network,
            kinds=kinds_of(wildcards.network),
        ),
    script:
        "../../workflow_scripts/evaluation/perceptual_scores.py"


rule metrics:
    input:
        **perceptual_scores(SHOWN),
    output:
        report(
            directory("<results>/{subject}/metrics"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/metrics.log",
    benchmark:
        "<results>/{subject}/benchmarks/metrics.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=settings("metrics"),
        sets=SHOWN,
        metrics=METRICS,
        dataset_label=lambda wildcards: list(label_of_split(wildcards.subject)),
        code=code("evaluation/metrics.py"),
    script:
        "../../workflow_scripts/evaluation/metrics.py"


use rule metrics as ablations with:
    input:
        **perceptual_scores(ABLATIONS),
    output:
        report(
            directory("<results>/{subject}/ablations"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/ablations.log",
    benchmark:
        "<results>/{subject}/benchmarks/ablations.tsv"
    params:
        cfg=settings("metrics"),
        sets=ABLATIONS,
        metrics=METRICS,
        dataset_label=lambda wildcards: list(label_of_split(wildcards.subject)),
        code=code("evaluation/metrics.py"),


rule consistency:
    input:
        stimuli="<results>/{subject}/data/stimuli_test.h5",
        images=[folder(images) for images in REPEATS],
        manifests=[f"{folder(images)}_manifest.tsv" for images in REPEATS],
        weights=lambda wildcards: network_weights(NETWORKS),
    output:
        directory("<results>/{subject}/consistency"),
    log:
        "<results>/{subject}/logs/consistency.log",
    benchmark:
        "<results>/{subject}/benchmarks/consistency.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(120),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("metrics"),
        scorers=SCORERS,
        evaluation_networks=lambda wildcards: PATHS.evaluation_networks,
        clip=lambda wildcards: PATHS.clip,
        code=code("evaluation/consistency.py", scorers=SCORERS),
    script:
        "../../workflow_scripts/evaluation/consistency.py"


rule retrieval:
    input:
        vision="<results>/{subject}/features/clip_vision_test.h5",
        predicted_vision="<results>/{subject}/ridge/clip_vision_test.h5",
        text=of_training("<results>/{subject}/features/clip_text_train.h5"),
        predicted_text="<results>/{subject}/ridge/clip_text_test.h5",
        captions=of_training("<results>/{subject}/data/captions.json"),
    output:
        scores="<results>/{subject}/retrieval/retrieval.csv",
        captions="<results>/{subject}/retrieval/captions.json",
    log:
        "<results>/{subject}/logs/retrieval.log",
    benchmark:
        "<results>/{subject}/benchmarks/retrieval.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(60),
    params:
        cfg=settings("retrieval"),
        code=code("evaluation/retrieval.py"),
    script:
        "../../workflow_scripts/evaluation/retrieval.py"


rule contact_sheet:
    input:
        stimuli=shown_stimuli("<results>/{subject}/data"),
        stage1="<results>/{subject}/stage1",
        stage1_manifest="<results>/{subject}/stage1_manifest.tsv",
        recon="<results>/{subject}/recon",
        recon_manifest="<results>/{subject}/recon_manifest.tsv",
        captions="<results>/{subject}/data/captions.json",
        names=stim_files("<results>/{subject}"),
    output:
        report("<results>/{subject}/contact_sheet.png", category="Images"),
    log:
        "<results>/{subject}/logs/contact_sheet.log",
    benchmark:
        "<results>/{subject}/benchmarks/contact_sheet.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        n_stimuli=24,
        dataset=DATASET_LABEL.name,
        code=code("reporting/contact_sheet.py"),
    script:
        "../../workflow_scripts/reporting/contact_sheet.py"
