"""Test sets: other experiments with a subject, on which its decoders are tested as they are (test_sets in config.yaml).

In:  the files of NSD-Imagery and NSD-synthetic, results/{subject}/{data/{betas_train.h5, rois.h5}, ridge/kernel.h5}
Out: results/{subject}_{name}/{data/{stimuli.tsv, targets.tsv, betas_test.h5, stimuli_test.h5, captions.json},
     features/{feature}_test.h5, ridge/kernel.h5, learned/{feature}_test.h5}
"""

OF_TEST_SETS = "|".join(TEST_FOLDERS) or "none"


rule test_set_table:
    input:
        unpack(test_set_sources("table")),
    output:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        targets="<results>/{subject}/data/targets.tsv",
        captions="<results>/{subject}/data/captions.json",
    log:
        "<results>/{subject}/logs/test_set_table.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_table.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        kind=kind_of_test_set,
        cfg=test_set_settings("betas", "zscore", "crop", "fill", "words"),
        code=lambda wildcards: code(
            "data/test_set_table.py", test_sets=kind_of_test_set(wildcards)
        ),
    script:
        "../../workflow_scripts/data/test_set_table.py"


rule test_set_betas:
    input:
        betas=test_set_betas_file,
        stimuli="<results>/{subject}/data/stimuli.tsv",
        rois=of_training("<results>/{subject}/data/rois.h5"),
        train=of_training("<results>/{subject}/data/betas_train.h5"),
    output:
        "<results>/{subject}/data/betas_test.h5",
    log:
        "<results>/{subject}/logs/test_set_betas.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_betas.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(30),
    params:
        kind=kind_of_test_set,
        cfg=test_set_settings("crop", "fill", "condition", "sets", "words"),
        name=lambda wildcards: TEST_FOLDERS[wildcards.subject][1],
        unit=cfg.nsd.unit,
        code=lambda wildcards: code(
            "data/test_set_betas.py", test_sets=kind_of_test_set(wildcards)
        ),
    script:
        "../../workflow_scripts/data/test_set_betas.py"


rule test_set_stimuli:
    input:
        unpack(test_set_sources("stimuli")),
        stimuli="<results>/{subject}/data/stimuli.tsv",
    output:
        images="<results>/{subject}/data/stimuli_test.h5",
    log:
        "<results>/{subject}/logs/test_set_stimuli.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_stimuli.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        kind=kind_of_test_set,
        cfg=test_set_settings("betas", "zscore", "condition"),
        code=lambda wildcards: code(
            "data/test_set_stimuli.py", test_sets=kind_of_test_set(wildcards)
        ),
    script:
        "../../workflow_scripts/data/test_set_stimuli.py"


use rule features as test_set_features with:
    output:
        "<results>/{subject}/features/{feature}_{split}.h5",
    wildcard_constraints:
        subject=OF_TEST_SETS,
        split="test",
        feature="|".join(
            name for name in ALL_FEATURES if FEATURE_RECORDS[name].reads == "images"
        ),


rule test_set_kernel:
    input:
        kernel=of_training("<results>/{subject}/ridge/kernel.h5"),
        train=of_training("<results>/{subject}/data/betas_train.h5"),
        test="<results>/{subject}/data/betas_test.h5",
    output:
        maybe_temp("<results>/{subject}/ridge/kernel.h5"),
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
