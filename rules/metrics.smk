"""Stage 6, metrics: how much images resemble what was seen, by pixels and by networks that judge; tables; retrieval.

In:  results/{subject}/nsd/{stimuli_test.h5, captions.json}, folders of images, the judges' weights, the embeddings
Out: results/{subject}/{judged/{images}/{judge}.csv, metrics, ablations, consistency, retrieval, contact_sheet.png}
"""

SHOWN = ["stage1", "recon", *schema.REFERENCES]
ABLATIONS = [*SHOWN, *ABLATED]
REPEATS = [
    "recon",
    *(f"{schema.REPEAT}{number}" for number in range(1, cfg.metrics.repeats)),
]


rule pixels:
    input:
        stimuli="<results>/{subject}/nsd/stimuli_test.h5",
        images=lambda wildcards: folder(wildcards.images),
        manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
    output:
        "<results>/{subject}/judged/{images}/pixels.csv",
    log:
        "<results>/{subject}/logs/judged_{images}_pixels.log",
    benchmark:
        "<results>/{subject}/benchmarks/judged_{images}_pixels.tsv"
    conda:
        "../envs/judges.yaml"
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(60),
    params:
        cfg=settings("metrics.protocol", "metrics.control_seed"),
        code=code("pixels.py"),
    script:
        "../workflow_scripts/pixels.py"


rule judged_shard:
    input:
        stimuli="<results>/{subject}/nsd/stimuli_test.h5",
        images=lambda wildcards: folder(wildcards.images),
        manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
        weights=lambda wildcards: judge_weights([wildcards.judge]),
    output:
        temp("<results>/{subject}/shards/judged/{images}/{judge}/{span}.h5"),
    log:
        "<results>/{subject}/logs/judged_{images}_{judge}_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/judged_{images}_{judge}_{span}.tsv"
    conda:
        "../envs/judges.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(30, each=0.03 if GPU else 0.2),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("metrics.protocol"),
        judges=lambda wildcards: PATHS.judges,
        clip=lambda wildcards: PATHS.clip if wildcards.judge == "clip" else None,
        code=lambda wildcards: code("judged_shard.py", judges=wildcards.judge),
    script:
        "../workflow_scripts/judged_shard.py"


rule judged:
    input:
        shards=of_shards(
            "judged", "<results>/{subject}/shards/judged/{images}/{judge}/{span}.h5"
        ),
        like=["<results>/{subject}/nsd/stimuli_test.h5"],
    output:
        "<results>/{subject}/judged/{images}/{judge}.csv",
    log:
        "<results>/{subject}/logs/judged_{images}_{judge}.log",
    benchmark:
        "<results>/{subject}/benchmarks/judged_{images}_{judge}.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(30),
    params:
        cfg=settings("metrics.control_seed"),
        code=lambda wildcards: code(
            "judged.py", judges=wildcards.judge, kinds=kinds_of(wildcards.judge)
        ),
    script:
        "../workflow_scripts/judged.py"


rule metrics:
    input:
        judged(SHOWN),
    output:
        report(
            directory("<results>/{subject}/metrics"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/metrics.log",
    benchmark:
        "<results>/{subject}/benchmarks/metrics.tsv"
    conda:
        "../envs/judges.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=settings("metrics"),
        sets=SHOWN,
        world=list(WORLD),
        code=code("metrics.py"),
    script:
        "../workflow_scripts/metrics.py"


use rule metrics as ablations with:
    input:
        judged(ABLATIONS),
    output:
        report(
            directory("<results>/{subject}/ablations"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "<results>/{subject}/logs/ablations.log",
    benchmark:
        "<results>/{subject}/benchmarks/ablations.tsv"
    params:
        cfg=settings("metrics"),
        sets=ABLATIONS,
        world=list(WORLD),
        code=code("metrics.py"),


rule consistency:
    input:
        stimuli="<results>/{subject}/nsd/stimuli_test.h5",
        images=[folder(images) for images in REPEATS],
        manifests=[f"{folder(images)}_manifest.tsv" for images in REPEATS],
        weights=lambda wildcards: judge_weights(cfg.metrics.judges),
    output:
        directory("<results>/{subject}/consistency"),
    log:
        "<results>/{subject}/logs/consistency.log",
    benchmark:
        "<results>/{subject}/benchmarks/consistency.tsv"
    conda:
        "../envs/judges.yaml"
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(120),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("metrics"),
        judges=lambda wildcards: PATHS.judges,
        clip=lambda wildcards: PATHS.clip,
        code=code("consistency.py", judges=cfg.metrics.judges),
    script:
        "../workflow_scripts/consistency.py"


rule retrieval:
    input:
        vision="<results>/{subject}/features/clip_vision_test.h5",
        predicted_vision="<results>/{subject}/ridge/clip_vision_test.h5",
        text="<results>/{subject}/features/clip_text_train.h5",
        predicted_text="<results>/{subject}/ridge/clip_text_test.h5",
        captions="<results>/{subject}/nsd/captions.json",
    output:
        scores="<results>/{subject}/retrieval/retrieval.csv",
        captions="<results>/{subject}/retrieval/captions.json",
    log:
        "<results>/{subject}/logs/retrieval.log",
    benchmark:
        "<results>/{subject}/benchmarks/retrieval.tsv"
    conda:
        "../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(60),
    params:
        cfg=settings("retrieval"),
        code=code("retrieval.py"),
    script:
        "../workflow_scripts/retrieval.py"


rule contact_sheet:
    input:
        stimuli="<results>/{subject}/nsd/stimuli_test.h5",
        stage1="<results>/{subject}/stage1",
        stage1_manifest="<results>/{subject}/stage1_manifest.tsv",
        recon="<results>/{subject}/recon",
        recon_manifest="<results>/{subject}/recon_manifest.tsv",
        captions="<results>/{subject}/nsd/captions.json",
    output:
        report("<results>/{subject}/contact_sheet.png", category="Images"),
    log:
        "<results>/{subject}/logs/contact_sheet.log",
    benchmark:
        "<results>/{subject}/benchmarks/contact_sheet.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        n_stimuli=24,
        dataset=WORLD.name,
        code=code("contact_sheet.py"),
    script:
        "../workflow_scripts/contact_sheet.py"
