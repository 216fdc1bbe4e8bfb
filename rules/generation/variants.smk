"""Variants: reconstructions with other settings, and repeats with other seeds (seed_1, {variant}.seed_1, ...).

In:  what recon reads; of variants with `features: oracle` the features of the test stimuli themselves
Out: results/{subject}/variants/{variant}/{recon/*.png, recon_manifest.tsv}
"""

UNGUIDED = [name for name in cfg.variants if name not in cfg.guided]
ABLATED = [
    name for name in UNGUIDED if cfg.variants[name].backbone == "versatile_diffusion"
]


def init_images(ending):
    """What a variant starts from: nothing, its decoder's stage-1 reconstructions, or those of the true latents."""

    def of_variant(wildcards):
        variant, _ = cfg.variant(wildcards.variant)
        if variant.start == "noise":
            return []
        folder = decoder_registry.DECODERS[variant.decoder].init_images
        if variant.features == "oracle":
            folder = "references/vdvae"
        return f"<results>/{wildcards.subject}/{folder}{ending}"

    return of_variant


def feature_of_variant(wildcards, feature, is_true):
    """The file of a feature of the test stimuli: the true one, or what the variant's decoder predicts."""
    variant, _ = cfg.variant(wildcards.variant)
    path = decoder_registry.DECODERS[variant.decoder].predictions
    path = "features/{feature}_test.h5" if is_true else path
    return f"<results>/{wildcards.subject}/{path.format(feature=feature)}"


def embeddings(kind):
    """The embeddings, "text" or "vision", that condition a variant's backbone; nothing if it reads none of the kind."""

    def of_variant(wildcards):
        feature = backbone_of(wildcards).conditions.get(kind)
        is_true = cfg.variant(wildcards.variant)[0].features == "oracle"
        return feature_of_variant(wildcards, feature, is_true) if feature else []

    return of_variant


def backbone_of(wildcards):
    """The backbone of a variant."""
    return backbone_registry.BACKBONES[cfg.variant(wildcards.variant)[0].backbone]


def diffusion_files(wildcards):
    """The files that a variant's backbone is read from."""
    name = cfg.variant(wildcards.variant)[0].backbone
    return model_of("backbone", name, backbone_of(wildcards))


def clip_files(wildcards):
    """CLIP's files that a variant reads for its unconditional pass; the other features come with the backbone."""
    features = backbone_of(wildcards).conditions.values()
    return sum(
        (
            files_of_feature(feature)
            for feature in features
            if FEATURE_RECORDS[feature].key == "clip"
        ),
        [],
    )


def diffusion_params(guide):
    """Parameters that say by which backbone and guide a variant is made."""
    return {
        "backbone": lambda wildcards: cfg.variant(wildcards.variant)[0].backbone,
        "clip": lambda wildcards: PATHS.clip,
        "diffusion": lambda wildcards: MODEL_PATHS[backbone_of(wildcards).key],
        "guide": guide,
        "code": lambda wildcards: code(
            "generation/recon.py",
            backbones=cfg.variant(wildcards.variant)[0].backbone,
            guides=guide,
        ),
    }


def recon_of(wildcards):
    """The settings of a variant's reconstructions."""
    with exit_with_message():
        return cfg.settings_of(wildcards.variant)


use rule recon_shard as variant_shard with:
    input:
        stage1=init_images(""),
        manifest=init_images("_manifest.tsv"),
        text=embeddings("text"),
        vision=embeddings("vision"),
        clip=clip_files,
        diffusion=diffusion_files,
    output:
        temp("<results>/{subject}/shards/variants/{variant}/{span}.h5"),
    log:
        "<results>/{subject}/logs/variant_{variant}_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/variant_{variant}_{span}.tsv"
    wildcard_constraints:
        variant=schema.variant_regex([*UNGUIDED, ""]),
    params:
        **diffusion_params("none"),
        tower=None,
        cfg=lambda wildcards: stage_config(
            SETTINGS | {"recon": recon_of(wildcards)},
            "recon",
            "compute.dtype",
        ),


use rule gather_images as variant with:
    input:
        shards=of_shards(
            "recon", "<results>/{subject}/shards/variants/{variant}/{span}.h5"
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory("<results>/{subject}/variants/{variant}/recon"),
        manifest="<results>/{subject}/variants/{variant}/recon_manifest.tsv",
    log:
        "<results>/{subject}/logs/variant_{variant}.log",
    benchmark:
        "<results>/{subject}/benchmarks/variant_{variant}.tsv"
