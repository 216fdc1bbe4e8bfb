"""Test sets: what a subject's decoders predict from the betas of another experiment; nothing is fitted.

In:  results/{subject}_{name}/data/betas_test.h5, results/{subject}/{data/betas_train.h5, ridge/kernel.h5, learned}
Out: results/{subject}_{name}/{ridge/kernel.h5, learned/{feature}_test.h5}
"""


rule test_set_kernel:
    input:
        kernel=of_training("<results>/{subject}/ridge/kernel.h5"),
        train=of_training("<results>/{subject}/data/betas_train.h5"),
        test="<results>/{subject}/data/betas_test.h5",
    output:
        temp("<results>/{subject}/ridge/kernel.h5"),
    log:
        "<results>/{subject}/logs/test_set_kernel.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_kernel.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(kernel_mb(MOST_VOXELS)),
        runtime=scaled_by_attempt(30),
    params:
        code=code("decoding/test_set_kernel.py"),
    script:
        "../../workflow_scripts/decoding/test_set_kernel.py"


rule test_set_learned:
    input:
        weights=of_training("<results>/{subject}/learned/{feature}/weights.safetensors"),
        betas="<results>/{subject}/data/betas_test.h5",
    output:
        "<results>/{subject}/learned/{feature}_test.h5",
    log:
        "<results>/{subject}/logs/test_set_learned_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_learned_{feature}.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(30),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("learned.rescale"),
        subject=lambda wildcards: trained_in(wildcards.subject),
        code=code("decoding/test_set_learned.py"),
    script:
        "../../workflow_scripts/decoding/test_set_learned.py"
