"""Variants: reconstructions with other settings, and repeats with other seeds (seed_1, {variant}.seed_1, ...).

In:  what recon reads; of variants with `features: oracle` the features of the test stimuli themselves
Out: results/{subject}/variants/{variant}/{recon/*.png, recon_manifest.tsv}
"""

UNGUIDED = [name for name in cfg.variants if name not in cfg.guided]
ABLATED = [
    name for name in UNGUIDED if cfg.variants[name].backbone == "versatile_diffusion"
]
# Variants of adapters came later; they have a table of their own, so that older tables stay as they are.
WITH_ADAPTER = [
    name for name in UNGUIDED if cfg.variants[name].backbone.startswith("ip_adapter")
]


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
        variant=schema.variant_regex([*UNGUIDED, ""], cfg.choosing),
    params:
        **diffusion_params("none"),
        tower=None,
        cfg=lambda wildcards: stage_config(
            SETTINGS | {"recon": recon_of(wildcards)},
            "recon",
            "compute.dtype",
            *batch_of("recon"),
            *COMPILED,
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
    wildcard_constraints:
        variant=schema.variant_regex([*cfg.variants, ""], cfg.choosing),
