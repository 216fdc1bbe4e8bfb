"""Regions: what regions code and contribute: optimal images, perturbations, lesions, weights.

In:  results/{subject}/{data, features, ridge/kernel.h5, brain, volumes}, the generative networks, an evaluation network
Out: results/{subject}/{optimal, perturbed, lesions, weights, roi}, results/average/{optimal, roi}
"""


rule optimal:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas="<results>/{subject}/data/betas_train.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        regions="<results>/{subject}/data/regions.h5",
        rois="<results>/{subject}/data/rois.h5",
        alpha=chosen_alpha(),
    output:
        "<results>/{subject}/optimal/{feature}.h5",
    log:
        "<results>/{subject}/logs/optimal_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/optimal_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(1100 * cfg.ridge.memory_gib),
        runtime=scaled_by_attempt(60),
        memory_gib=str(cfg.ridge.memory_gib),
    params:
        cfg=settings(
            "roi.optimal", "roi.scale", "roi.released_protocol", "roi.lesions.seed"
        ),
        alpha=alpha_of,
        code=code("regions/optimal.py"),
    script:
        "../../workflow_scripts/regions/optimal.py"


rule optimal_average:
    input:
        subjects=of_subjects("<results>/{subject}/optimal/{{feature}}.h5"),
    output:
        "<results>/average/optimal/{feature}.h5",
    log:
        "<results>/average/logs/optimal_{feature}.log",
    benchmark:
        "<results>/average/benchmarks/optimal_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("regions/optimal_average.py"),
    script:
        "../../workflow_scripts/regions/optimal_average.py"


rule optimal_images:
    input:
        vdvae="<results>/{subject_or_average}/optimal/vdvae.h5",
        text="<results>/{subject_or_average}/optimal/clip_text.h5",
        vision="<results>/{subject_or_average}/optimal/clip_vision.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
        clip=both_clips,
        diffusion=versatile_diffusion,
    output:
        stage1=directory("<results>/{subject_or_average}/optimal/stage1"),
        stage1_manifest="<results>/{subject_or_average}/optimal/stage1_manifest.tsv",
        images=directory("<results>/{subject_or_average}/optimal/images"),
        manifest="<results>/{subject_or_average}/optimal/images_manifest.tsv",
    log:
        "<results>/{subject_or_average}/logs/optimal_images.log",
    benchmark:
        "<results>/{subject_or_average}/benchmarks/optimal_images.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(12000),
        runtime=scaled_by_attempt(240),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["recon"],
    params:
        cfg=settings("stage1", "recon", "compute.dtype", *batch_of("recon")),
        n_images=cfg.roi.images,
        numbered=True,
        clip=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("regions/roi_images.py", backbones="versatile_diffusion"),
    script:
        "../../workflow_scripts/regions/roi_images.py"


rule perturbed:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas="<results>/{subject}/data/betas_train.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        regions="<results>/{subject}/data/regions.h5",
        alpha=chosen_alpha(),
    output:
        "<results>/{subject}/perturbed/{feature}.h5",
    log:
        "<results>/{subject}/logs/perturbed_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/perturbed_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(1100 * cfg.ridge.memory_gib),
        runtime=scaled_by_attempt(60),
        memory_gib=str(cfg.ridge.memory_gib),
    params:
        cfg=settings("roi.perturb"),
        alpha=alpha_of,
        rescale="none" if cfg.ridge.rescale == "none" else "train_oof",
        code=code("regions/perturbed.py"),
    script:
        "../../workflow_scripts/regions/perturbed.py"


use rule optimal_images as perturbed_images with:
    input:
        vdvae="<results>/{subject}/perturbed/vdvae.h5",
        text="<results>/{subject}/perturbed/clip_text.h5",
        vision="<results>/{subject}/perturbed/clip_vision.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
        clip=both_clips,
        diffusion=versatile_diffusion,
    output:
        stage1=directory("<results>/{subject}/perturbed/stage1"),
        stage1_manifest="<results>/{subject}/perturbed/stage1_manifest.tsv",
        images=directory("<results>/{subject}/perturbed/images"),
        manifest="<results>/{subject}/perturbed/images_manifest.tsv",
    log:
        "<results>/{subject}/logs/perturbed_images.log",
    benchmark:
        "<results>/{subject}/benchmarks/perturbed_images.tsv"
    params:
        cfg=settings("stage1", "recon", "compute.dtype", *batch_of("recon")),
        n_images=1,
        numbered=False,
        clip=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("regions/roi_images.py", backbones="versatile_diffusion"),


rule category_probe:
    input:
        train="<results>/{subject}/data/stimuli_train.h5",
        test="<results>/{subject}/data/stimuli_test.h5",
        captions="<results>/{subject}/data/captions.json",
        optimal="<results>/{subject}/optimal/images",
        optimal_manifest="<results>/{subject}/optimal/images_manifest.tsv",
        recon="<results>/{subject}/recon",
        recon_manifest="<results>/{subject}/recon_manifest.tsv",
        weights=lambda wildcards: network_weights([cfg.roi.network]),
    output:
        directory("<results>/{subject}/optimal/category_probe"),
    log:
        "<results>/{subject}/logs/category_probe.log",
    benchmark:
        "<results>/{subject}/benchmarks/category_probe.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("metrics.protocol"),
        network=cfg.roi.network,
        categories=list(cfg.roi.lesions.categories.items()),
        evaluation_networks=lambda wildcards: PATHS.evaluation_networks,
        clip=lambda wildcards: PATHS.clip,
        code=code("regions/category_probe.py", scorers=cfg.roi.network),
    script:
        "../../workflow_scripts/regions/category_probe.py"


rule lesions:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas_train="<results>/{subject}/data/betas_train.h5",
        betas_test="<results>/{subject}/data/betas_test.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        test="<results>/{subject}/features/{feature}_test.h5",
        regions="<results>/{subject}/data/regions.h5",
        captions="<results>/{subject}/data/captions.json",
        alpha=chosen_alpha(),
    output:
        directory("<results>/{subject}/lesions/{feature}"),
    log:
        "<results>/{subject}/logs/lesions_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/lesions_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("roi.lesions"),
        alpha=alpha_of,
        code=code("regions/lesions.py"),
    script:
        "../../workflow_scripts/regions/lesions.py"


rule ridge_weights:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas="<results>/{subject}/data/betas_train.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        regions="<results>/{subject}/data/regions.h5",
        alpha=chosen_alpha(),
    output:
        "<results>/{subject}/weights/{feature}.h5",
    log:
        "<results>/{subject}/logs/ridge_weights_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/ridge_weights_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(240),
    params:
        cfg=settings("roi.weights"),
        alpha=alpha_of,
        code=code("decoding/ridge_weights.py"),
    script:
        "../../workflow_scripts/decoding/ridge_weights.py"


rule roi:
    input:
        optimal="<results>/{subject}/optimal/images",
        optimal_manifest="<results>/{subject}/optimal/images_manifest.tsv",
        stage1="<results>/{subject}/optimal/stage1",
        stage1_manifest="<results>/{subject}/optimal/stage1_manifest.tsv",
        category_probe="<results>/{subject}/optimal/category_probe",
        perturbed="<results>/{subject}/perturbed/images",
        perturbed_manifest="<results>/{subject}/perturbed/images_manifest.tsv",
        lesions=expand("<results>/{{subject}}/lesions/{feature}", feature=FEATURES),
        regions="<results>/{subject}/data/regions.h5",
        stimuli=shown_stimuli("<results>/{subject}/data"),
        brain="<results>/{subject}/brain",
        volumes="<results>/{subject}/volumes",
    output:
        directory("<results>/{subject}/roi"),
    log:
        "<results>/{subject}/logs/roi.log",
    benchmark:
        "<results>/{subject}/benchmarks/roi.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        features=FEATURES,
        regions=cfg.roi.lesions.regions,
        equalize_histogram=cfg.roi.equalize_histogram,
        code=code("regions/roi.py"),
    script:
        "../../workflow_scripts/regions/roi.py"


rule roi_average:
    input:
        subjects=of_subjects("<results>/{subject}/roi"),
        optimal="<results>/average/optimal/images",
        optimal_manifest="<results>/average/optimal/images_manifest.tsv",
        stage1="<results>/average/optimal/stage1",
        stage1_manifest="<results>/average/optimal/stage1_manifest.tsv",
    output:
        directory("<results>/average/roi"),
    log:
        "<results>/average/logs/roi.log",
    benchmark:
        "<results>/average/benchmarks/roi.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        equalize_histogram=cfg.roi.equalize_histogram,
        code=code("regions/roi_average.py"),
    script:
        "../../workflow_scripts/regions/roi_average.py"
