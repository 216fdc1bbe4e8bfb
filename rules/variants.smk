"""Stage 5 again, variants: reconstructions with other settings, and repeats with other seeds (seed_1, seed_2, ...).

In:  what recon reads; of variants with `features: own` the features of the test stimuli themselves
Out: results/{subject}/variants/{variant}/{recon/nsd*.png, recon_manifest.tsv}
"""

UNGUIDED = [each for each in cfg.variants if each not in cfg.guided]


use rule recon as variant with:
    input:
        stage1=first_guesses(""),
        manifest=first_guesses("_manifest.tsv"),
        text=embeddings("clip_text"),
        vision=embeddings("clip_vision"),
        clip=MODEL_FILES["clip_text"] + MODEL_FILES["clip_vision"],
        diffusion=layouts.diffusion(PATHS.versatile_diffusion),
    output:
        pictures=directory("results/{subject}/variants/{variant}/recon"),
        manifest="results/{subject}/variants/{variant}/recon_manifest.tsv",
    log:
        "results/{subject}/logs/variant_{variant}.log",
    benchmark:
        "results/{subject}/benchmarks/variant_{variant}.tsv"
    wildcard_constraints:
        variant="|".join((*map(re.escape, UNGUIDED), rf"{configuration.REPEAT}\d+")),
    params:
        cfg=lambda wildcards: stage_config(
            SETTINGS | {"recon": cfg.variant(wildcards.variant)[1]},
            "recon",
            "compute.dtype",
        ),
        clip=lambda wildcards: PATHS.clip,
        diffusion=lambda wildcards: PATHS.versatile_diffusion,
        code=code("recon.py"),
