"""Stage 1, nsd: the published files -> trial table, betas, images, captions and ROI labels of one subject.

In:  datasets.*.nsd/{nsddata, nsddata_betas, nsddata_stimuli}, datasets.*.captions
Out: results/{subject}/data/{stimuli.tsv, betas_{split}.h5, rois.h5, stimuli_{split}.h5, captions.json};
     of what subjects share, results/shared/sessions_{sessions}/data/{stimuli.tsv, stimuli_test.h5, captions.json}
"""


rule design:
    input:
        design=source_of("nsd", DESIGN),
    output:
        "<results>/{subject}/data/stimuli.tsv",
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
        subject=lambda wildcards: subject_number(wildcards.subject),
        # one word: Snakemake compares the values of all parameters as a set
        sessions=lambda wildcards: " ".join(
            ["sessions", *map(str, session_numbers(wildcards.subject))]
        ),
        splits=lambda wildcards: (
            ["test"] if wildcards.subject in SHARED else ["train", "test"]
        ),
        code=code("data/nsd_design.py"),
    script:
        "../../workflow_scripts/data/nsd_design.py"


rule betas:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        betas=lambda wildcards: source("nsd.betas", SESSIONS[wildcards.subject]),
        mask=lambda wildcards: source(
            "nsd.mask", roi_files(wildcards.subject, cfg.nsd.mask)[0]
        ),
        rois=lambda wildcards: source(
            "nsd.rois", roi_files(wildcards.subject, cfg.nsd.rois)
        ),
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
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("nsd.constant_voxels"),
        code=code("data/nsd_betas.py"),
    script:
        "../../workflow_scripts/data/nsd_betas.py"


rule stimuli:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        stimulus_file=source_of("nsd", STIMULUS_FILE),
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
        code=code("data/nsd_stimuli.py"),
    script:
        "../../workflow_scripts/data/nsd_stimuli.py"


rule captions:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        captions=source_of("captions", PATHS.captions),
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
        code=code("data/nsd_captions.py"),
    script:
        "../../workflow_scripts/data/nsd_captions.py"
