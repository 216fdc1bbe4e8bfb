"""References: images that bound what any decoder can do, from below and from above.

In:  results/{subject}/data/stimuli_{split}.h5, results/{subject}/features/vdvae_test.h5, the VDVAE, the autoencoder
Out: results/{subject}/references/{mean_image, vdvae, autoencoder} and their manifests
"""

REFERENCE = "<results>/{subject}/references/"


rule mean_image:
    input:
        train=of_training("<results>/{subject}/data/stimuli_train.h5"),
        test="<results>/{subject}/data/stimuli_test.h5",
    output:
        images=directory(f"{REFERENCE}mean_image"),
        manifest=f"{REFERENCE}mean_image_manifest.tsv",
    log:
        "<results>/{subject}/logs/mean_image.log",
    benchmark:
        "<results>/{subject}/benchmarks/mean_image.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(30),
    params:
        prefix=ADAPTER.prefix,
        code=code("data/mean_image.py"),
    script:
        "../../workflow_scripts/data/mean_image.py"


use rule stage1_shard as vdvae_reference_shard with:
    input:
        source="<results>/{subject}/features/vdvae_test.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
    output:
        temp("<results>/{subject}/shards/vdvae_reference/{span}.h5"),
    log:
        "<results>/{subject}/logs/vdvae_reference_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/vdvae_reference_{span}.tsv"


use rule gather_images as vdvae_reference with:
    input:
        shards=of_shards(
            "stage1", "<results>/{subject}/shards/vdvae_reference/{span}.h5"
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory(f"{REFERENCE}vdvae"),
        manifest=f"{REFERENCE}vdvae_manifest.tsv",
    log:
        "<results>/{subject}/logs/vdvae_reference.log",
    benchmark:
        "<results>/{subject}/benchmarks/vdvae_reference.tsv"


rule autoencoder_reference_shard:
    input:
        source="<results>/{subject}/data/stimuli_test.h5",
        model=versatile_diffusion,
    output:
        temp("<results>/{subject}/shards/autoencoder_reference/{span}.h5"),
    log:
        "<results>/{subject}/logs/autoencoder_reference_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/autoencoder_reference_{span}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(12000),
        runtime=scaled_by_attempt(30, each=0.1 if GPU else 1),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["recon"],
    params:
        cfg=settings("recon.seed", "compute.dtype"),
        source="stimuli",
        model=lambda wildcards: PATHS.versatile_diffusion,
        batch_key="recon",
        code=code("generation/direct_images.py", sources="stimuli"),
    script:
        "../../workflow_scripts/generation/direct_images.py"


use rule gather_images as autoencoder_reference with:
    input:
        shards=of_shards(
            "recon", "<results>/{subject}/shards/autoencoder_reference/{span}.h5"
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory(f"{REFERENCE}autoencoder"),
        manifest=f"{REFERENCE}autoencoder_manifest.tsv",
    log:
        "<results>/{subject}/logs/autoencoder_reference.log",
    benchmark:
        "<results>/{subject}/benchmarks/autoencoder_reference.tsv"
