"""Features: images and captions -> what the regression predicts.

In:  results/{subject}/data/{stimuli_{split}.h5, captions.json}, the published models
Out: results/{subject}/features/{feature}_{split}.h5, gathered from shards; what NSD's subjects share is encoded once, to
     results/shared/sessions_{sessions}/features/{feature}_test.h5
"""

FEATURE_RECORDS = feature_registry.FEATURES
SHARD_OF_FEATURES = "<results>/{subject}/shards/features/{feature}_{split}/{span}.h5"


# With --cache the shards are taken from $SNAKEMAKE_OUTPUT_CACHE if they are there (docs/storage.md).
rule features_cached_shard:
    input:
        stimuli="<results>/{subject}/data/stimuli_{split}.h5",
        captions=lambda wildcards: (
            f"<results>/{wildcards.subject}/data/captions.json"
            if FEATURE_RECORDS[wildcards.feature].reads == "captions"
            else []
        ),
        model=lambda wildcards: to_be_hashed(files_of_feature(wildcards.feature)),
        sizes=lambda wildcards: (
            to_be_hashed(image_size(wildcards))
            if FEATURE_RECORDS[wildcards.feature].at_reconstruction_size
            else []
        ),
    output:
        temp(SHARD_OF_FEATURES),
    log:
        "<results>/{subject}/logs/features_{feature}_{split}_{span}.log",
    cache: workflow.enable_cache
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(30, each=0.01 if GPU else 0.1),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["features"],
    params:
        cfg=lambda wildcards: settings(
            "features.storage",
            "compute.dtype",
            *settings_of_feature(wildcards.feature),
            *(
                batch_of("features")
                if FEATURE_RECORDS[wildcards.feature].reads == "images"
                else []
            ),
        ),
        model=lambda wildcards: MODEL_PATHS[FEATURE_RECORDS[wildcards.feature].key],
        diffusion=lambda wildcards: (
            PATHS.versatile_diffusion
            if FEATURE_RECORDS[wildcards.feature].at_reconstruction_size
            else None
        ),
        # a cache knows a shard by its parameters and what it is made from, not by its name
        name=lambda wildcards: f"{wildcards.feature}_{wildcards.split}/{wildcards.span}",
        code=lambda wildcards: code("features/features.py", features=wildcards.feature),
    script:
        "../../workflow_scripts/features/features.py"


# Snakemake has no benchmark of what may come from a cache.
if not workflow.enable_cache:

    ruleorder: features_shard > features_cached_shard

    use rule features_cached_shard as features_shard with:
        benchmark:
            "<results>/{subject}/benchmarks/features_{feature}_{split}_{span}.tsv"


rule features:
    input:
        shards=parts_of_features,
        like=["<results>/{subject}/data/stimuli_{split}.h5"],
    output:
        maybe_temp("<results>/{subject}/features/{feature}_{split}.h5"),
    log:
        "<results>/{subject}/logs/features_{feature}_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/features_{feature}_{split}.tsv"
    wildcard_constraints:
        subject="|".join(cfg.subjects),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(30),
    params:
        code=code("features/gather_features.py"),
    script:
        "../../workflow_scripts/features/gather_features.py"


if SHARED:

    use rule features as shared_features with:
        output:
            "<results>/{subject}/features/{feature}_{split}.h5",
        wildcard_constraints:
            subject="|".join(SHARED),
            split="test",


# The stimuli of a test set have images and no captions.
use rule features as test_set_features with:
    output:
        "<results>/{subject}/features/{feature}_{split}.h5",
    wildcard_constraints:
        subject=OF_TEST_SETS,
        split="test",
        feature="|".join(
            name for name in ALL_FEATURES if FEATURE_RECORDS[name].reads == "images"
        ),
