"""Stage 6, roi: what regions code and contribute: optimal images, perturbations, lesions, weights.

In:  results/{subject}/{nsd, features, ridge/kernel.h5, brain, volumes}, the networks of stages 4 and 5, a judge
Out: results/{subject}/{optimal, perturbed, contributions, weights, roi}, results/average/{optimal, roi}
"""


rule optimal:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas="<results>/{subject}/nsd/betas_train.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        regions="<results>/{subject}/nsd/regions.h5",
        rois="<results>/{subject}/nsd/rois.h5",
    output:
        "<results>/{subject}/optimal/{feature}.h5",
    log:
        "<results>/{subject}/logs/optimal_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/optimal_{feature}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(1100 * cfg.ridge.memory_gib),
        runtime=scaled_by_attempt(60),
        memory_gib=str(cfg.ridge.memory_gib),
    params:
        cfg=settings("roi.optimal", "roi.gain", "roi.parity", "roi.contributions.seed"),
        alpha=alpha_of,
        code=code("optimal.py"),
    script:
        "../workflow_scripts/optimal.py"


rule optimal_average:
    input:
        of_subjects("<results>/{subject}/optimal/{{feature}}.h5"),
    output:
        "<results>/average/optimal/{feature}.h5",
    log:
        "<results>/average/logs/optimal_{feature}.log",
    benchmark:
        "<results>/average/benchmarks/optimal_{feature}.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("optimal_average.py"),
    script:
        "../workflow_scripts/optimal_average.py"


rule optimal_images:
    input:
        vdvae="<results>/{who}/optimal/vdvae.h5",
        text="<results>/{who}/optimal/clip_text.h5",
        vision="<results>/{who}/optimal/clip_vision.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
        clip=both_clips,
        diffusion=versatile_diffusion,
    output:
        stage1=directory("<results>/{who}/optimal/stage1"),
        stage1_manifest="<results>/{who}/optimal/stage1_manifest.tsv",
        images=directory("<results>/{who}/optimal/images"),
        manifest="<results>/{who}/optimal/images_manifest.tsv",
    log:
        "<results>/{who}/logs/optimal_images.log",
    benchmark:
        "<results>/{who}/benchmarks/optimal_images.tsv"
    conda:
        "../envs/torch.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(12000),
        runtime=scaled_by_attempt(240),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.recon,
    params:
        cfg=settings("stage1", "recon", "compute.dtype"),
        n_images=cfg.roi.images,
        numbered=True,
        clip=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("roi_images.py", backbones="versatile_diffusion"),
    script:
        "../workflow_scripts/roi_images.py"


rule perturbed:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas="<results>/{subject}/nsd/betas_train.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        regions="<results>/{subject}/nsd/regions.h5",
    output:
        "<results>/{subject}/perturbed/{feature}.h5",
    log:
        "<results>/{subject}/logs/perturbed_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/perturbed_{feature}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(1100 * cfg.ridge.memory_gib),
        runtime=scaled_by_attempt(60),
        memory_gib=str(cfg.ridge.memory_gib),
    params:
        cfg=settings("roi.perturb"),
        alpha=alpha_of,
        rescale="none" if cfg.ridge.rescale == "none" else "train_oof",
        code=code("perturbed.py"),
    script:
        "../workflow_scripts/perturbed.py"


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
        cfg=settings("stage1", "recon", "compute.dtype"),
        n_images=1,
        numbered=False,
        clip=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("roi_images.py", backbones="versatile_diffusion"),


rule optimal_seen:
    input:
        train="<results>/{subject}/nsd/stimuli_train.h5",
        test="<results>/{subject}/nsd/stimuli_test.h5",
        captions="<results>/{subject}/nsd/captions.json",
        optimal="<results>/{subject}/optimal/images",
        optimal_manifest="<results>/{subject}/optimal/images_manifest.tsv",
        recon="<results>/{subject}/recon",
        recon_manifest="<results>/{subject}/recon_manifest.tsv",
        weights=lambda wildcards: judge_weights([cfg.roi.judge]),
    output:
        directory("<results>/{subject}/optimal/seen"),
    log:
        "<results>/{subject}/logs/optimal_seen.log",
    benchmark:
        "<results>/{subject}/benchmarks/optimal_seen.tsv"
    conda:
        "../envs/judges.yaml"
    threads: cfg.compute.threads
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("metrics.protocol"),
        judge=cfg.roi.judge,
        categories=list(cfg.roi.contributions.categories.items()),
        judges=lambda wildcards: PATHS.judges,
        clip=lambda wildcards: PATHS.clip,
        code=code("roi_seen.py", judges=cfg.roi.judge),
    script:
        "../workflow_scripts/roi_seen.py"


rule contributions:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas_train="<results>/{subject}/nsd/betas_train.h5",
        betas_test="<results>/{subject}/nsd/betas_test.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        test="<results>/{subject}/features/{feature}_test.h5",
        regions="<results>/{subject}/nsd/regions.h5",
        captions="<results>/{subject}/nsd/captions.json",
    output:
        directory("<results>/{subject}/contributions/{feature}"),
    log:
        "<results>/{subject}/logs/contributions_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/contributions_{feature}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("roi.contributions"),
        alpha=alpha_of,
        code=code("contributions.py"),
    script:
        "../workflow_scripts/contributions.py"


rule ridge_weights:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        betas="<results>/{subject}/nsd/betas_train.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
        regions="<results>/{subject}/nsd/regions.h5",
    output:
        "<results>/{subject}/weights/{feature}.h5",
    log:
        "<results>/{subject}/logs/ridge_weights_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/ridge_weights_{feature}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(240),
    params:
        cfg=settings("roi.weights"),
        alpha=alpha_of,
        code=code("ridge_weights.py"),
    script:
        "../workflow_scripts/ridge_weights.py"


rule roi:
    input:
        optimal="<results>/{subject}/optimal/images",
        optimal_manifest="<results>/{subject}/optimal/images_manifest.tsv",
        stage1="<results>/{subject}/optimal/stage1",
        stage1_manifest="<results>/{subject}/optimal/stage1_manifest.tsv",
        seen="<results>/{subject}/optimal/seen",
        perturbed="<results>/{subject}/perturbed/images",
        perturbed_manifest="<results>/{subject}/perturbed/images_manifest.tsv",
        contributions=expand(
            "<results>/{{subject}}/contributions/{feature}", feature=FEATURES
        ),
        regions="<results>/{subject}/nsd/regions.h5",
        stimuli="<results>/{subject}/nsd/stimuli_test.h5",
        brain="<results>/{subject}/brain",
        volumes="<results>/{subject}/volumes",
    output:
        directory("<results>/{subject}/roi"),
    log:
        "<results>/{subject}/logs/roi.log",
    benchmark:
        "<results>/{subject}/benchmarks/roi.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        features=FEATURES,
        regions=cfg.roi.contributions.regions,
        equalise=cfg.roi.equalise,
        code=code("roi.py"),
    script:
        "../workflow_scripts/roi.py"


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
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        equalise=cfg.roi.equalise,
        code=code("roi_average.py"),
    script:
        "../workflow_scripts/roi_average.py"
