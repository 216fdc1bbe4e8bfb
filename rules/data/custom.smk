"""Stage 1, custom: a dataset in the plain layout (docs/your_data.md), in place of nsd: the same artifacts.

In:  datasets.*.custom.{trials, betas, mask, stimuli, rois}, datasets.*.captions
Out: results/{subject}/data/{stimuli.tsv, stim_files.tsv, betas_{split}.h5, rois.h5, stimuli_{split}.h5, captions.json}
"""

CAPTIONS = [] if PATHS.captions == custom.NONE else local([PATHS.captions])
# Where an adapter writes images, a rule's output says when; else receipts note those that were read.
STIMULI = local([CUSTOM.stimuli]) if "stimuli" in schema.WRITTEN[CUSTOM.adapter] else []
IMAGES = [] if STIMULI else custom.stimulus_ids(CUSTOM.stimuli)


# An adapter looks through what it has written; all else is looked through here, before any job.
if CUSTOM.adapter == "none":
    with exit_with_message():
        custom_checks.validate(
            Path(RESULTS, "dataset/sound.txt"),
            [subject_files(subject) for subject in cfg.subjects],
            CUSTOM.stimuli,
            CAPTIONS[0] if CAPTIONS else None,
            cfg.nsd.constant_voxels,
        )

    N_STIMULI = {
        subject: custom.count_stimuli(custom_files("trials", subject)[0])
        for subject in cfg.subjects
    }

    def n_stimuli_at_most(subject, split):
        """A split's stimuli."""
        return N_STIMULI[subject][split]


rule design:
    input:
        trials=lambda wildcards: custom_files("trials", wildcards.subject),
        images=STIMULI,
    output:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        stim_files="<results>/{subject}/data/stim_files.tsv",
    log:
        "<results>/{subject}/logs/design.log",
    benchmark:
        "<results>/{subject}/benchmarks/design.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        folder=lambda wildcards: CUSTOM.stimuli,
        names=digest(sorted(IMAGES)),
        code=code("data/custom_design.py"),
    script:
        "../../workflow_scripts/data/custom_design.py"


rule betas:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        trials=lambda wildcards: custom_files("trials", wildcards.subject),
        betas=lambda wildcards: custom_files("betas", wildcards.subject),
        mask=lambda wildcards: custom_files("mask", wildcards.subject),
    output:
        train="<results>/{subject}/data/betas_train.h5",
        test="<results>/{subject}/data/betas_test.h5",
        rois="<results>/{subject}/data/rois.h5",
    log:
        "<results>/{subject}/logs/betas.log",
    benchmark:
        "<results>/{subject}/benchmarks/betas.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("nsd.constant_voxels"),
        zscore=CUSTOM.zscore,
        code=code("data/custom_betas.py"),
    script:
        "../../workflow_scripts/data/custom_betas.py"


rule stimuli:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        stim_files="<results>/{subject}/data/stim_files.tsv",
        images=STIMULI,
    output:
        "<results>/{subject}/data/stimuli_{split}.h5",
    log:
        "<results>/{subject}/logs/stimuli_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/stimuli_{split}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(60),
    params:
        folder=lambda wildcards: CUSTOM.stimuli,
        code=code("data/custom_stimuli.py"),
    script:
        "../../workflow_scripts/data/custom_stimuli.py"


rule captions:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        stim_files="<results>/{subject}/data/stim_files.tsv",
        captions=CAPTIONS,
    output:
        "<results>/{subject}/data/captions.json",
    log:
        "<results>/{subject}/logs/captions.log",
    benchmark:
        "<results>/{subject}/benchmarks/captions.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("data/custom_captions.py"),
    script:
        "../../workflow_scripts/data/custom_captions.py"
