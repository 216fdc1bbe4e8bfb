"""Stage 2, features: pictures and captions -> what the regression predicts.

In:  results/{subject}/nsd/{stimuli_{split}.h5, captions.json}, the published models
Out: results/{subject}/features/{feature}_{split}.h5
"""

VD = PATHS.versatile_diffusion
FEATURE_MODELS = {
    "vdvae": [PATHS.vdvae],
    "clip_text": [f"{VD}/text_encoder", f"{VD}/tokenizer"],
    "clip_vision": [f"{VD}/image_encoder", f"{VD}/image_feature_extractor"],
}
CODEC_SIZES = [f"{VD}/image_unet", f"{VD}/vae"]
FEATURE_SETTINGS = {"vdvae": ["features.vdvae"]}


rule features:
    input:
        stimuli="results/{subject}/nsd/stimuli_{split}.h5",
        captions=lambda wildcards: (
            ["results/{subject}/nsd/captions.json"]
            if wildcards.feature == "clip_text"
            else []
        ),
        model=lambda wildcards: FEATURE_MODELS[wildcards.feature],
        sizes=lambda wildcards: (
            CODEC_SIZES if wildcards.feature == "clip_vision" else []
        ),
    output:
        kept("results/{subject}/features/{feature}_{split}.h5"),
    log:
        "results/{subject}/logs/features_{feature}_{split}.log",
    benchmark:
        "results/{subject}/benchmarks/features_{feature}_{split}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.features,
    params:
        cfg=lambda wildcards: settings(
            "features.storage",
            "compute.dtype",
            *FEATURE_SETTINGS.get(wildcards.feature, []),
        ),
        code=code("features.py"),
    script:
        "../workflow_scripts/features.py"
