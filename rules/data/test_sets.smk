"""Test sets: other experiments with a subject, on which its decoders are tested as they are (test_sets in config.yaml).

In:  the files of NSD-Imagery and NSD-synthetic, results/{subject}/data/{betas_train.h5, rois.h5}
Out: results/{subject}_{name}/data/{stimuli.tsv, targets.tsv, betas_test.h5, stimuli_test.h5, captions.json}
"""


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
        images="<results>/{subject}/data/stimuli_{split}.h5",
    log:
        "<results>/{subject}/logs/test_set_stimuli_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/test_set_stimuli_{split}.tsv"
    wildcard_constraints:
        subject=OF_TEST_SETS,
        split="test",
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
