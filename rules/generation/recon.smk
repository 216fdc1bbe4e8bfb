"""Recon: Versatile Diffusion img2img from the stage-1 reconstructions, conditioned by predicted text and vision.

In:  results/{subject}/{stage1, stage1_manifest.tsv, ridge/clip_text_test.h5, ridge/clip_vision_test.h5}, its networks
Out: results/{subject}/{recon/*.png, recon_manifest.tsv}
"""


rule recon_shard:
    input:
        stage1="<results>/{subject}/stage1",
        manifest="<results>/{subject}/stage1_manifest.tsv",
        text="<results>/{subject}/ridge/clip_text_test.h5",
        vision="<results>/{subject}/ridge/clip_vision_test.h5",
        clip=both_clips,
        diffusion=versatile_diffusion,
    output:
        temp("<results>/{subject}/shards/recon/{span}.h5"),
    log:
        "<results>/{subject}/logs/recon_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/recon_{span}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(memory_of_backbone(12000)),
        runtime=scaled_by_attempt(30, each=0.5 if GPU else 10),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["recon"],
        shard_size=SETTINGS["shards"]["recon"],
    params:
        cfg=settings("recon", "compute.dtype", *batch_of("recon"), *COMPILED),
        backbone="versatile_diffusion",
        clip=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        guide="none",
        tower=None,
        code=code("generation/recon.py", backbones="versatile_diffusion", guides="none"),
    script:
        "../../workflow_scripts/generation/recon.py"


use rule gather_images as recon with:
    input:
        shards=of_shards("recon", "<results>/{subject}/shards/recon/{span}.h5"),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory("<results>/{subject}/recon"),
        manifest="<results>/{subject}/recon_manifest.tsv",
    log:
        "<results>/{subject}/logs/recon.log",
    benchmark:
        "<results>/{subject}/benchmarks/recon.tsv"
