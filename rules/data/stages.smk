"""Data: the files of a dataset -> trial table, betas, stimulus images and captions of one subject.

In:  what the adapter of the dataset names (brain_diffuser/data/registry.py)
Out: results/{subject}/data/{stimuli.tsv, betas_{split}.h5, rois.h5, stimuli_{split}.h5, captions.json} and what else the
     adapter's design writes; stimuli_stand_ins_test.h5 where pages do not show stimuli; of what subjects share,
     results/{shared}/data/{stimuli.tsv, stimuli_test.h5, captions.json}
"""

# Files that no rule writes are validated before any job; a rule that writes some validates all of them itself.
if ADAPTER.validate:
    with exit_with_message():
        ADAPTER.validate(cfg, Path(RESULTS, "dataset/sound.txt"))


rule design:
    input:
        unpack(sources("design")),
    output:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        tables=[f"<results>/{{subject}}/data/{name}" for name in ADAPTER.tables],
    log:
        "<results>/{subject}/logs/design.log",
    benchmark:
        "<results>/{subject}/benchmarks/design.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SHARED)),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        adapter=PATHS.adapter_name,
        cfg=adapter_settings("design"),
        code=code("data/design.py", adapters=PATHS.adapter_name),
    script:
        "../../workflow_scripts/data/design.py"


rule betas:
    input:
        unpack(sources("betas")),
        stimuli="<results>/{subject}/data/stimuli.tsv",
    output:
        train="<results>/{subject}/data/betas_train.h5",
        test="<results>/{subject}/data/betas_test.h5",
        rois="<results>/{subject}/data/rois.h5",
    log:
        "<results>/{subject}/logs/betas.log",
    benchmark:
        "<results>/{subject}/benchmarks/betas.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SPLIT_FOLDERS)),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(ADAPTER.betas_mem_mb),
        runtime=scaled_by_attempt(120),
    params:
        adapter=PATHS.adapter_name,
        cfg=adapter_settings("betas"),
        code=code("data/betas.py", adapters=PATHS.adapter_name),
    script:
        "../../workflow_scripts/data/betas.py"


rule stimuli:
    input:
        unpack(sources("stimuli")),
        stimuli="<results>/{subject}/data/stimuli.tsv",
    output:
        images="<results>/{subject}/data/stimuli_{split}.h5",
    log:
        "<results>/{subject}/logs/stimuli_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/stimuli_{split}.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SHARED)),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(60),
    params:
        adapter=PATHS.adapter_name,
        cfg=adapter_settings("stimuli"),
        code=code("data/stimuli.py", adapters=PATHS.adapter_name),
    script:
        "../../workflow_scripts/data/stimuli.py"


rule stimuli_stand_ins:
    input:
        "<results>/{subject}/{place}/stimuli_test.h5",
    output:
        "<results>/{subject}/{place}/stimuli_stand_ins_test.h5",
    log:
        "<results>/{subject}/logs/stimuli_stand_ins_{place}.log",
    benchmark:
        "<results>/{subject}/benchmarks/stimuli_stand_ins_{place}.tsv"
    wildcard_constraints:
        place="data|chosen",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        code=code("data/stimuli_stand_ins.py"),
    script:
        "../../workflow_scripts/data/stimuli_stand_ins.py"


rule captions:
    input:
        unpack(sources("captions")),
        stimuli="<results>/{subject}/data/stimuli.tsv",
    output:
        captions="<results>/{subject}/data/captions.json",
    log:
        "<results>/{subject}/logs/captions.log",
    benchmark:
        "<results>/{subject}/benchmarks/captions.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SHARED, *SPLIT_FOLDERS)),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        adapter=PATHS.adapter_name,
        cfg=adapter_settings("captions"),
        code=code("data/captions.py", adapters=PATHS.adapter_name),
    script:
        "../../workflow_scripts/data/captions.py"
