"""Ridge: one kernel of a subject's betas, then predictions of every feature from it.

In:  results/{subject}/data/betas_{split}.h5, results/{subject}/features/{feature}_{split}.h5
Out: results/{subject}/ridge/{kernel.h5, {feature}_test.h5, alpha_{feature}.csv, alpha_{feature}.svg}

A test set has its own test rows in a copy of its subject's kernel (rules/data/test_sets.smk).
"""


rule ridge_kernel:
    input:
        train="<results>/{subject}/data/betas_train.h5",
        test="<results>/{subject}/data/betas_test.h5",
    output:
        "<results>/{subject}/ridge/kernel.h5",
    log:
        "<results>/{subject}/logs/ridge_kernel.log",
    benchmark:
        "<results>/{subject}/benchmarks/ridge_kernel.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SPLIT_FOLDERS)),
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(kernel_mb(MOST_VOXELS)),
        runtime=scaled_by_attempt(30),
    params:
        cfg=settings("ridge.precision"),
        code=code("decoding/ridge_kernel.py"),
    script:
        "../../workflow_scripts/decoding/ridge_kernel.py"


rule ridge_alpha:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        train="<results>/{subject}/features/{feature}_train.h5",
    output:
        table="<results>/{subject}/ridge/alpha_{feature}.csv",
        plot="<results>/{subject}/ridge/alpha_{feature}.svg",
    log:
        "<results>/{subject}/logs/ridge_alpha_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/ridge_alpha_{feature}.tsv"
    wildcard_constraints:
        subject=TRAINED,
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(spectrum_mb(2 * cfg.ridge.auto.columns)),
        runtime=scaled_by_attempt(60),
    params:
        cfg=cfg.ridge.auto.model_dump(),
        code=code("decoding/ridge_alpha.py"),
    script:
        "../../workflow_scripts/decoding/ridge_alpha.py"


rule ridge:
    input:
        kernel="<results>/{subject}/ridge/kernel.h5",
        train=of_training("<results>/{subject}/features/{feature}_train.h5"),
        alpha=chosen_alpha(),
    output:
        predicted="<results>/{subject}/ridge/{feature}_test.h5",
    log:
        "<results>/{subject}/logs/ridge_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/ridge_{feature}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(1100 * cfg.ridge.memory_gib),
        runtime=scaled_by_attempt(60),
        memory_gib=str(cfg.ridge.memory_gib),
    params:
        cfg=lambda wildcards: {
            "alpha": alpha_of(wildcards),
            "rescale": rescale_of(wildcards),
        },
        code=code("decoding/ridge.py"),
    script:
        "../../workflow_scripts/decoding/ridge.py"
