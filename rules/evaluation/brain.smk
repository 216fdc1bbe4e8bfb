"""Brain correlation: the betas that an encoding ridge predicts for images, compared with those that were measured.

In:  folders of images, CLIP, results/{subject}/{features/clip_vision_train.h5, data, encoding, ridge/kernel.h5}
Out: results/{subject}/{encoding/{images}_{clip_vision, betas}.h5, brain/brain_correlation.{csv, svg}}
"""

BRAIN_SETS = list(dict.fromkeys(cfg.roi.brain))


rule brain_vision:
    input:
        images=lambda wildcards: folder(wildcards.images),
        manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
        model=lambda wildcards: files_of_feature("clip_vision"),
        sizes=image_size,
    output:
        maybe_temp("<results>/{subject}/encoding/{images}_clip_vision.h5"),
    log:
        "<results>/{subject}/logs/brain_vision_{images}.log",
    benchmark:
        "<results>/{subject}/benchmarks/brain_vision_{images}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(60),
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=BATCH_SIZE["features"],
    params:
        cfg=settings(
            "features.storage",
            "compute.dtype",
            *settings_of_feature("clip_vision"),
            *batch_of("features"),
        ),
        model=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("evaluation/brain_vision.py", features="clip_vision"),
    script:
        "../../workflow_scripts/evaluation/brain_vision.py"


rule brain_betas:
    input:
        kernel=of_training("<results>/{subject}/encoding/kernel.h5"),
        train=of_training("<results>/{subject}/features/clip_vision_train.h5"),
        images="<results>/{subject}/encoding/{images}_clip_vision.h5",
        betas=of_training("<results>/{subject}/data/betas_train.h5"),
    output:
        "<results>/{subject}/encoding/{images}_betas.h5",
    log:
        "<results>/{subject}/logs/brain_betas_{images}.log",
    benchmark:
        "<results>/{subject}/benchmarks/brain_betas_{images}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(1100 * cfg.ridge.memory_gib),
        runtime=scaled_by_attempt(60),
        memory_gib=str(cfg.ridge.memory_gib),
    params:
        cfg={"alpha": cfg.accuracy.encoding_alpha, "rescale": "none"},
        code=code("evaluation/brain_betas.py"),
    script:
        "../../workflow_scripts/evaluation/brain_betas.py"


rule brain:
    input:
        predicted=expand(
            "<results>/{{subject}}/encoding/{file}.h5",
            file=["betas_test", *(f"{images}_betas" for images in BRAIN_SETS)],
        ),
        betas="<results>/{subject}/data/betas_test.h5",
        kernel="<results>/{subject}/ridge/kernel.h5",
        regions="<results>/{subject}/data/regions.h5",
    output:
        directory("<results>/{subject}/brain"),
    log:
        "<results>/{subject}/logs/brain.log",
    benchmark:
        "<results>/{subject}/benchmarks/brain.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        cfg=settings("metrics.bootstrap", "metrics.control_seed"),
        sets=["stimulus", *BRAIN_SETS],
        code=code("evaluation/brain.py", kinds="distance"),
    script:
        "../../workflow_scripts/evaluation/brain.py"
