"""Stage 5 again, neuraldiffuser: variants that CLIP's taps guide, and their table (docs/neuraldiffuser.md).

In:  what recon reads, results/{subject}/{features, ridge}/clip_taps_test.h5, the tower of the taps
Out: results/{subject}/{ridge/clip_taps_{test, reliability}.h5, variants/{variant}/recon, neuraldiffuser}
"""

GUIDED = [*SHOWN, *cfg.guided]


ruleorder: ridge_taps > ridge


use rule ridge as ridge_taps with:
    input:
        kernel="results/{subject}/ridge/kernel.h5",
        train="results/{subject}/features/clip_taps_train.h5",
    output:
        predicted="results/{subject}/ridge/clip_taps_test.h5",
        reliability="results/{subject}/ridge/clip_taps_reliability.h5",
    log:
        "results/{subject}/logs/ridge_clip_taps.log",
    benchmark:
        "results/{subject}/benchmarks/ridge_clip_taps.tsv"
    params:
        cfg={"alpha": cfg.ridge.alpha.clip_taps, "rescale": cfg.ridge.rescale},
        code=code("ridge.py"),


rule guided:
    input:
        stage1=first_guesses(""),
        manifest=first_guesses("_manifest.tsv"),
        text=embeddings("clip_text"),
        vision=embeddings("clip_vision"),
        taps=taps,
        reliability=reliability,
        clip=MODEL_FILES["clip_text"] + MODEL_FILES["clip_vision"],
        tower=lambda wildcards: model_files("clip_taps"),
        diffusion=layouts.diffusion(PATHS.versatile_diffusion),
    output:
        pictures=directory("results/{subject}/variants/{variant}/recon"),
        manifest="results/{subject}/variants/{variant}/recon_manifest.tsv",
    log:
        "results/{subject}/logs/variant_{variant}.log",
    benchmark:
        "results/{subject}/benchmarks/variant_{variant}.tsv"
    wildcard_constraints:
        variant="|".join(map(re.escape, cfg.guided)) or "none",
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.recon,
    params:
        cfg=lambda wildcards: stage_config(
            SETTINGS
            | {
                "recon": cfg.variant(wildcards.variant)[1],
                "guidance": guidance_of(wildcards),
            },
            "recon",
            "guidance",
            "features.clip_taps",
            "compute.dtype",
        ),
        clip=lambda wildcards: PATHS.clip,
        tower=lambda wildcards: PATHS.clip_taps,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("guided.py"),
    script:
        "../workflow_scripts/guided.py"


use rule metrics as neuraldiffuser with:
    input:
        judged(GUIDED),
    output:
        report(
            directory("results/{subject}/neuraldiffuser"),
            patterns=["scores.csv"],
            category="Scores",
        ),
    log:
        "results/{subject}/logs/neuraldiffuser.log",
    benchmark:
        "results/{subject}/benchmarks/neuraldiffuser.tsv"
    params:
        cfg=settings("metrics"),
        sets=GUIDED,
        world=WORLD,
        code=code("metrics.py"),
