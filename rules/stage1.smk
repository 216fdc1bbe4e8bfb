"""Stage 4: predicted VDVAE latents -> a first guess of each test picture.

In: results/{subject}/ridge/vdvae_test.h5, VDVAE
Out: results/{subject}/{stage1, stage1_manifest.tsv}
"""


rule stage1:
    input:
        latents="results/{subject}/ridge/vdvae_test.h5",
        model=cfg.paths.vdvae,
    output:
        pictures=directory("results/{subject}/stage1"),
        manifest="results/{subject}/stage1_manifest.tsv",
    log:
        "results/{subject}/logs/stage1.log",
    benchmark:
        "results/{subject}/benchmarks/stage1.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.stage1,
    params:
        cfg=keys("stage1"),
        code=code("stage1.py"),
    script:
        "../workflow_scripts/stage1.py"
