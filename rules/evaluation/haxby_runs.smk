"""Haxby et al. 2001, run by run: blocks decoded by the ridge of the other runs, and identified among 8 categories.

In:  results/{subject}/{data, features}, the generative networks, metrics.networks
Out: results/{subject}/held_out/{labels}/{{feature}.h5, stage1, recon}, results/{subject}/identification
"""

LABELS = ["true", "permuted"]
HELD_OUT = "<results>/{subject}/held_out/{labels}/"


rule held_out:
    input:
        betas=expand(
            "<results>/{{subject}}/data/betas_{split}.h5", split=["train", "test"]
        ),
        features=expand(
            "<results>/{{subject}}/features/{{feature}}_{split}.h5",
            split=["train", "test"],
        ),
        stim_files="<results>/{subject}/data/stim_files.tsv",
        alpha=chosen_alpha(),
    output:
        f"{HELD_OUT}{{feature}}.h5",
    log:
        "<results>/{subject}/logs/held_out_{labels}_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/held_out_{labels}_{feature}.tsv"
    wildcard_constraints:
        labels="|".join(LABELS),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=settings("haxby.seed", "ridge.rescale"),
        alpha=alpha_of,
        code=code("decoding/held_out.py"),
    script:
        "../../workflow_scripts/decoding/held_out.py"


use rule stage1_shard as held_out_stage1_shard with:
    input:
        source=f"{HELD_OUT}vdvae.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
    output:
        temp("<results>/{subject}/shards/held_out_{labels}_stage1/{span}.h5"),
    log:
        "<results>/{subject}/logs/held_out_{labels}_stage1_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/held_out_{labels}_stage1_{span}.tsv"
    wildcard_constraints:
        labels="|".join(LABELS),


use rule gather_images as held_out_stage1 with:
    input:
        shards=of_shards(
            "stage1",
            "<results>/{subject}/shards/held_out_{labels}_stage1/{span}.h5",
            "both",
        ),
        like=expand(
            "<results>/{{subject}}/data/stimuli_{split}.h5", split=["train", "test"]
        ),
    output:
        images=directory(f"{HELD_OUT}stage1"),
        manifest=f"{HELD_OUT}stage1_manifest.tsv",
    log:
        "<results>/{subject}/logs/held_out_{labels}_stage1.log",
    benchmark:
        "<results>/{subject}/benchmarks/held_out_{labels}_stage1.tsv"
    wildcard_constraints:
        labels="|".join(LABELS),


use rule recon_shard as held_out_recon_shard with:
    input:
        stage1=f"{HELD_OUT}stage1",
        manifest=f"{HELD_OUT}stage1_manifest.tsv",
        text=f"{HELD_OUT}clip_text.h5",
        vision=f"{HELD_OUT}clip_vision.h5",
        clip=both_clips,
        diffusion=versatile_diffusion,
    output:
        temp("<results>/{subject}/shards/held_out_{labels}_recon/{span}.h5"),
    log:
        "<results>/{subject}/logs/held_out_{labels}_recon_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/held_out_{labels}_recon_{span}.tsv"
    wildcard_constraints:
        labels="|".join(LABELS),


use rule gather_images as held_out_recon with:
    input:
        shards=of_shards(
            "recon",
            "<results>/{subject}/shards/held_out_{labels}_recon/{span}.h5",
            "both",
        ),
        like=expand(
            "<results>/{{subject}}/data/stimuli_{split}.h5", split=["train", "test"]
        ),
    output:
        images=directory(f"{HELD_OUT}recon"),
        manifest=f"{HELD_OUT}recon_manifest.tsv",
    log:
        "<results>/{subject}/logs/held_out_{labels}_recon.log",
    benchmark:
        "<results>/{subject}/benchmarks/held_out_{labels}_recon.tsv"
    wildcard_constraints:
        labels="|".join(LABELS),


rule identification:
    input:
        **{
            f"features_{feature}": [
                f"<results>/{{subject}}/features/{feature}_{split}.h5"
                for split in ("train", "test")
            ]
            for feature in FEATURES
        },
        **{
            f"{labels}_{feature}": f"{HELD_OUT}{feature}.h5".replace(
                "{labels}", labels
            )
            for labels in LABELS
            for feature in FEATURES
        },
        # a folder of images, and its manifest
        **{
            f"{labels}_{stage}": [
                f"{HELD_OUT}{stage}{ending}".replace("{labels}", labels)
                for ending in ("", "_manifest.tsv")
            ]
            for labels in LABELS
            for stage in ("stage1", "recon")
        },
        betas=expand(
            "<results>/{{subject}}/data/betas_{split}.h5", split=["train", "test"]
        ),
        stimuli=expand(
            "<results>/{{subject}}/data/stimuli_{split}.h5", split=["train", "test"]
        ),
        stim_files="<results>/{subject}/data/stim_files.tsv",
        weights=lambda wildcards: network_weights(NETWORKS),
        alpha=chosen_alpha("clip_vision"),
    output:
        directory("<results>/{subject}/identification"),
    log:
        "<results>/{subject}/logs/identification.log",
    benchmark:
        "<results>/{subject}/benchmarks/identification.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("haxby", "metrics.protocol", "metrics.networks"),
        alpha=lambda wildcards: alpha_of(wildcards, "clip_vision"),
        features=FEATURES,
        labels=LABELS,
        networks=NETWORKS,
        dataset_label=list(DATASET_LABEL),
        evaluation_networks=lambda wildcards: PATHS.evaluation_networks,
        clip=lambda wildcards: PATHS.clip,
        code=code("evaluation/identification.py", scorers=NETWORKS),
    script:
        "../../workflow_scripts/evaluation/identification.py"
