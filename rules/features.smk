"""Stage 2: stimuli -> the features that betas will be mapped to.

In: results/{subject}/nsd/{stimuli_{split}.h5, captions.json}, the network of the feature
Out: results/{subject}/features/{feature}_{split}.h5
"""

VERSATILE_DIFFUSION = cfg.paths.versatile_diffusion
FEATURE_MODELS = {
    "vdvae": [cfg.paths.vdvae],
    "clip_text": [f"{VERSATILE_DIFFUSION}/text_encoder", f"{VERSATILE_DIFFUSION}/tokenizer"],
    "clip_vision": [f"{VERSATILE_DIFFUSION}/image_encoder", f"{VERSATILE_DIFFUSION}/image_feature_extractor"],
}


rule features:
    input:
        stimuli="results/{subject}/nsd/stimuli_{split}.h5",
        captions="results/{subject}/nsd/captions.json",
        model=lambda wildcards: FEATURE_MODELS[wildcards.feature],
    output:
        "results/{subject}/features/{feature}_{split}.h5",
    log:
        "results/{subject}/logs/features_{feature}_{split}.log",
    benchmark:
        "results/{subject}/benchmarks/features_{feature}_{split}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.features,
    params:
        cfg=lambda wildcards: keys("features.storage", *OWN_KEYS.get(wildcards.feature, ())),
        code=code("features.py"),
    script:
        "../workflow_scripts/features.py"
