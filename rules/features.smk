"""Stage 2, features: pictures and captions -> what the regression predicts.

In:  results/{subject}/nsd/{stimuli_{split}.h5, captions.json}, the published models
Out: results/{subject}/features/{feature}_{split}.h5, gathered from shards
"""

MODELS = {
    "vdvae": PATHS.vdvae,
    "clip_text": PATHS.clip,
    "clip_vision": PATHS.clip,
    "clip_taps": PATHS.clip_taps,
    "sd_text": PATHS.stable_diffusion,
}
MODEL_FILES = {
    "vdvae": [PATHS.vdvae, *layouts.description(PATHS.vdvae)],
    **layouts.clip(PATHS.clip, PATHS.versatile_diffusion),
}
FEATURE_SETTINGS = {"vdvae": ["features.vdvae"], "clip_taps": ["features.clip_taps"]}
AT_CODECS_SIZE = (
    "clip_vision",
    "clip_taps",
)  # pictures take the size of reconstructions first


rule features_shard:
    input:
        stimuli="results/{subject}/nsd/stimuli_{split}.h5",
        captions=lambda wildcards: (
            ["results/{subject}/nsd/captions.json"]
            if wildcards.feature in ("clip_text", "sd_text")
            else []
        ),
        model=lambda wildcards: model_files(wildcards.feature),
        sizes=lambda wildcards: (
            layouts.picture_size(PATHS.versatile_diffusion)
            if wildcards.feature in AT_CODECS_SIZE
            else []
        ),
    output:
        temp("results/{subject}/shards/features/{feature}_{split}/{span}.h5"),
    log:
        "results/{subject}/logs/features_{feature}_{split}_{span}.log",
    benchmark:
        "results/{subject}/benchmarks/features_{feature}_{split}_{span}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=more(6000),
        runtime=more(30, each=0.01 if GPU else 0.1),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.features,
    params:
        cfg=lambda wildcards: settings(
            "features.storage",
            "compute.dtype",
            *FEATURE_SETTINGS.get(wildcards.feature, []),
        ),
        model=lambda wildcards: MODELS[wildcards.feature],
        diffusion=lambda wildcards: (
            PATHS.versatile_diffusion if wildcards.feature in AT_CODECS_SIZE else None
        ),
        code=code("features.py"),
    script:
        "../workflow_scripts/features.py"


rule features:
    input:
        shards=of_shards(
            "features", "results/{subject}/shards/features/{feature}_{split}/{span}.h5"
        ),
        like=["results/{subject}/nsd/stimuli_{split}.h5"],
    output:
        kept("results/{subject}/features/{feature}_{split}.h5"),
    log:
        "results/{subject}/logs/features_{feature}_{split}.log",
    benchmark:
        "results/{subject}/benchmarks/features_{feature}_{split}.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=more(1000),
        runtime=more(30),
    params:
        code=code("gather_features.py"),
    script:
        "../workflow_scripts/gather_features.py"
