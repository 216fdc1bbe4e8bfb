"""Stage1: predicted VDVAE latents -> stage-1 reconstructions, from which diffusion starts.

In:  results/{subject}/ridge/vdvae_test.h5, the VDVAE
Out: results/{subject}/{stage1/*.png, stage1_manifest.tsv}
"""


rule stage1_shard:
    input:
        source="<results>/{subject}/ridge/vdvae_test.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
    output:
        temp("<results>/{subject}/shards/stage1/{span}.h5"),
    log:
        "<results>/{subject}/logs/stage1_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/stage1_{span}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(15, each=0.1),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["stage1"],
        shard_size=SETTINGS["shards"]["stage1"],
    params:
        cfg=settings("stage1", "compute.dtype", *batch_of("stage1")),
        source="latents",
        model=lambda wildcards: PATHS.vdvae,
        batch_key="stage1",
        code=code("generation/direct_images.py", sources="latents"),
    script:
        "../../workflow_scripts/generation/direct_images.py"


# The base of every rule that gathers the shards of a set of images into a folder of PNG files.
rule gather_images:
    log:
        "<results>/logs/gather_images.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(30),
    params:
        prefix=ADAPTER.prefix,
        code=code("generation/gather_images.py"),
    script:
        "../../workflow_scripts/generation/gather_images.py"


use rule gather_images as stage1 with:
    input:
        shards=of_shards("stage1", "<results>/{subject}/shards/stage1/{span}.h5"),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory("<results>/{subject}/stage1"),
        manifest="<results>/{subject}/stage1_manifest.tsv",
    log:
        "<results>/{subject}/logs/stage1.log",
    benchmark:
        "<results>/{subject}/benchmarks/stage1.tsv"
