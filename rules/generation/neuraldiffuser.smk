"""Neuraldiffuser: variants that CLIP layer activations guide, and their table (docs/neuraldiffuser.md).

In:  what recon reads, results/{subject}/{features, ridge}/clip_layers_test.h5, the CLIP tower of these activations
Out: results/{subject}/{ridge/clip_layers_{test, reliability}.h5, variants/{variant}/{recon, consistency}, neuraldiffuser,
     guidance}
"""

# Guided sets, and what each is compared with: the set that differs in guidance alone. Not all have one.
with exit_with_message():
    AGAINST = {each: cfg.unguided_of(each) for each in cfg.guided}
    GRID = [(kappa, eta, name) for (kappa, eta), name in cfg.grid.items()]
AGAINST = {each: other for each, other in AGAINST.items() if other not in (None, each)}
COMPARED = list(dict.fromkeys([*AGAINST.values(), *AGAINST]))
# On the sheet of images: all but the cells of the grid and the variants without a block.
IN_GRID = {name for _, _, name in GRID}
DISPLAYED = [
    each
    for each in COMPARED
    if each not in cfg.guided
    or each in cfg.guided[:1]
    or (each not in IN_GRID and not cfg.variants[each].guidance.without)
]
GUIDED = [
    *SHOWN,
    *(each for each in UNGUIDED if each not in (*ABLATED, *WITH_ADAPTER)),
    *cfg.guided,
]


ruleorder: ridge_layers > ridge


use rule ridge as ridge_layers with:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        train=of_training("<results>/{subject}/features/clip_layers_train.h5"),
        alpha=chosen_alpha("clip_layers"),
    output:
        predicted="<results>/{subject}/ridge/clip_layers_test.h5",
        reliability="<results>/{subject}/ridge/clip_layers_reliability.h5",
    log:
        "<results>/{subject}/logs/ridge_clip_layers.log",
    benchmark:
        "<results>/{subject}/benchmarks/ridge_clip_layers.tsv"
    params:
        cfg=lambda wildcards: {
            "alpha": alpha_of(wildcards, "clip_layers"),
            "rescale": rescale_of(wildcards),
        },
        code=code("decoding/ridge.py"),


rule guided_shard:
    input:
        stage1=init_images(""),
        manifest=init_images("_manifest.tsv"),
        text=embeddings("text"),
        vision=embeddings("vision"),
        activations=activations,
        reliability=reliability,
        clip=clip_files,
        tower=lambda wildcards: files_of_feature("clip_layers"),
        diffusion=diffusion_files,
    output:
        temp("<results>/{subject}/shards/variants/{variant}/{span}.h5"),
    log:
        "<results>/{subject}/logs/variant_{variant}_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/variant_{variant}_{span}.tsv"
    wildcard_constraints:
        variant=schema.variant_regex(cfg.guided, cfg.choosing),
    conda:
        "../../envs/torch.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(memory_of_backbone(16000)),
        runtime=scaled_by_attempt(30, each=1 if GPU else 20),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["recon"],
    params:
        **diffusion_params("neuraldiffuser"),
        cfg=lambda wildcards: stage_config(
            SETTINGS
            | {
                "recon": recon_of(wildcards),
                "guidance": guidance_of(wildcards),
            },
            "recon",
            "guidance",
            "features.clip_layers",
            "compute.dtype",
            *batch_of("recon"),
        ),
        tower=lambda wildcards: PATHS.clip_layers,
    script:
        "../../workflow_scripts/generation/recon.py"


use rule metrics as neuraldiffuser with:
    input:
        **perceptual_scores(GUIDED),
    output:
        report(
            directory("<results>/{subject}/neuraldiffuser"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/neuraldiffuser.log",
    benchmark:
        "<results>/{subject}/benchmarks/neuraldiffuser.tsv"
    params:
        cfg=settings("metrics"),
        sets=GUIDED,
        metrics=METRICS,
        dataset_label=list(DATASET_LABEL),
        code=code("evaluation/metrics.py"),


use rule consistency as variant_consistency with:
    input:
        stimuli="<results>/{subject}/data/stimuli_test.h5",
        images=repeats(""),
        manifests=repeats("_manifest.tsv"),
        weights=lambda wildcards: network_weights(NETWORKS),
    output:
        directory("<results>/{subject}/variants/{variant}/consistency"),
    log:
        "<results>/{subject}/logs/consistency_{variant}.log",
    benchmark:
        "<results>/{subject}/benchmarks/consistency_{variant}.tsv"


rule guidance_tables:
    input:
        **perceptual_scores(COMPARED),
        consistency=[
            f"{Path(folder(each)).parent.as_posix()}/consistency"
            for each in cfg.metrics.repeated
        ],
        stimuli=shown_stimuli("<results>/{subject}/data"),
        images=[folder(each) for each in DISPLAYED],
        manifests=[f"{folder(each)}_manifest.tsv" for each in DISPLAYED],
    output:
        report(
            directory("<results>/{subject}/guidance"),
            patterns=["comparison.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/guidance_tables.log",
    benchmark:
        "<results>/{subject}/benchmarks/guidance_tables.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=settings("metrics"),
        sets=COMPARED,
        against=AGAINST,
        grid=GRID,
        shown=DISPLAYED,
        n_stimuli=12,
        code=code("evaluation/guidance_tables.py"),
    script:
        "../../workflow_scripts/evaluation/guidance_tables.py"
