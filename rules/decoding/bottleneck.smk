"""Bottleneck: decoded features, and images, through k dimensions of a subject's betas that all features share.

In:  results/{subject}/{ridge/kernel.h5, features/{feature}_{split}.h5}
Out: results/{subject}/{ridge/bottleneck.h5, bottleneck, rank_{rank}/{{feature}_test.h5, stage1, stage1_manifest.tsv}}
"""


rule bottleneck_maps:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        train=[f"<results>/{{subject}}/features/{each}_train.h5" for each in FEATURES],
    output:
        "<results>/{subject}/ridge/bottleneck.h5",
    log:
        "<results>/{subject}/logs/bottleneck_maps.log",
    benchmark:
        "<results>/{subject}/benchmarks/bottleneck_maps.tsv"
    wildcard_constraints:
        subject=TRAINED,
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(spectrum_mb(5000)),
        runtime=scaled_by_attempt(120),
    params:
        cfg={
            **cfg.bottleneck.model_dump(exclude={"ranks"}),
            "most": max(cfg.bottleneck.ranks),
        },
        features=FEATURES,
        code=code("decoding/bottleneck_maps.py"),
    script:
        "../../workflow_scripts/decoding/bottleneck_maps.py"


rule bottleneck:
    input:
        maps="<results>/{subject}/ridge/bottleneck.h5",
        features=[
            f"<results>/{{subject}}/features/{each}_{split}.h5"
            for each in FEATURES
            for split in ("train", "test")
        ],
    output:
        directory("<results>/{subject}/bottleneck"),
    log:
        "<results>/{subject}/logs/bottleneck.log",
    benchmark:
        "<results>/{subject}/benchmarks/bottleneck.tsv"
    wildcard_constraints:
        subject=TRAINED,
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        cfg=settings("metrics.bootstrap", "metrics.control_seed"),
        ranks=cfg.bottleneck.ranks,
        alpha=cfg.bottleneck.alpha,
        features=FEATURES,
        dataset_label=DATASET_LABEL.name,
        code=code("evaluation/dimensions_of_brain.py"),
    script:
        "../../workflow_scripts/evaluation/dimensions_of_brain.py"


rule rank_features:
    input:
        maps="<results>/{subject}/ridge/bottleneck.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
    output:
        "<results>/{subject}/rank_{rank}/{feature}_test.h5",
    log:
        "<results>/{subject}/logs/rank_features_{rank}_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/rank_features_{rank}_{feature}.tsv"
    wildcard_constraints:
        subject=TRAINED,
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(30),
    params:
        rescale=cfg.ridge.rescale != "none",
        code=code("decoding/rank_features.py"),
    script:
        "../../workflow_scripts/decoding/rank_features.py"


use rule stage1_shard as rank_stage1_shard with:
    input:
        source="<results>/{subject}/rank_{rank}/vdvae_test.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
    output:
        temp("<results>/{subject}/shards/rank_{rank}_stage1/{span}.h5"),
    log:
        "<results>/{subject}/logs/rank_{rank}_stage1_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/rank_{rank}_stage1_{span}.tsv"


use rule gather_images as rank_stage1 with:
    input:
        shards=of_shards(
            "stage1", "<results>/{subject}/shards/rank_{rank}_stage1/{span}.h5"
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory("<results>/{subject}/rank_{rank}/stage1"),
        manifest="<results>/{subject}/rank_{rank}/stage1_manifest.tsv",
    log:
        "<results>/{subject}/logs/rank_{rank}_stage1.log",
    benchmark:
        "<results>/{subject}/benchmarks/rank_{rank}_stage1.tsv"
