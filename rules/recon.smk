"""Stage 5: first guesses and predicted CLIP features -> reconstructions, by Versatile Diffusion.

In: results/{subject}/{stage1, stage1_manifest.tsv, ridge/clip_text_test.h5, ridge/clip_vision_test.h5}, its networks
Out: results/{subject}/{recon, recon_manifest.tsv}
"""


rule recon:
    input:
        stage1="results/{subject}/stage1",
        manifest="results/{subject}/stage1_manifest.tsv",
        text="results/{subject}/ridge/clip_text_test.h5",
        vision="results/{subject}/ridge/clip_vision_test.h5",
        model=VERSATILE_DIFFUSION,
    output:
        pictures=directory("results/{subject}/recon"),
        manifest="results/{subject}/recon_manifest.tsv",
    log:
        "results/{subject}/logs/recon.log",
    benchmark:
        "results/{subject}/benchmarks/recon.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=16000,
        runtime=720,
        gpu=GPU,
        device=cfg.compute.device,
        batch_size=cfg.compute.batch_size.recon,
    params:
        cfg=keys("recon", "compute.dtype"),
        code=code("recon.py"),
    script:
        "../workflow_scripts/recon.py"
