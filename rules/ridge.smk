"""Stage 3: betas -> features. One factorisation of a subject's betas serves every feature and penalty.

In: results/{subject}/nsd/betas_{split}.h5, results/{subject}/features/{feature}_train.h5
Out: results/{subject}/ridge/{factor.h5, {feature}_test.h5}
"""


rule ridge_factor:
    input:
        betas_train="results/{subject}/nsd/betas_train.h5",
        betas_test="results/{subject}/nsd/betas_test.h5",
    output:
        "results/{subject}/ridge/factor.h5",
    log:
        "results/{subject}/logs/ridge_factor.log",
    benchmark:
        "results/{subject}/benchmarks/ridge_factor.tsv"
    conda:
        "../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=6000,
        runtime=30,
    params:
        cfg=keys("ridge.precision"),
        code=code("ridge_factor.py"),
    script:
        "../workflow_scripts/ridge_factor.py"


rule ridge_predict:
    input:
        factor="results/{subject}/ridge/factor.h5",
        features="results/{subject}/features/{feature}_train.h5",
    output:
        "results/{subject}/ridge/{feature}_test.h5",
    log:
        "results/{subject}/logs/ridge_predict_{feature}.log",
    benchmark:
        "results/{subject}/benchmarks/ridge_predict_{feature}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=int(1024 * cfg.ridge.memory_gib),
        runtime=60,
    params:
        cfg=lambda wildcards: keys(f"ridge.alpha.{wildcards.feature}", "ridge.rescale"),
        code=code("ridge_predict.py"),
    script:
        "../workflow_scripts/ridge_predict.py"
