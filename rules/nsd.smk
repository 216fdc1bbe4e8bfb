"""Stage 1: the published NSD files of a subject -> betas, stimuli, captions and regions, in one row order.

In: experimental design, betas of each session, masks, picture brick, captions
Out: results/{subject}/nsd/{stimuli.tsv, betas_train.h5, betas_test.h5, rois.h5, stimuli_{split}.h5, captions.json}
"""

from brain_diffuser import sessions

NSD = cfg.paths.nsd
DESIGN = f"{NSD}/nsddata/experiments/nsd/nsd_expdesign.mat"
BRICK = f"{NSD}/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
ROI = f"{NSD}/nsddata/ppdata/subj{{number}}/func1pt8mm/roi/{{atlas}}.nii.gz"
BETAS = f"{NSD}/nsddata_betas/ppdata/subj{{number}}/func1pt8mm/{cfg.nsd.betas}"


def session_files(subject):
    """The files of the sessions to read: those that are there, or that the demo will write."""
    folder = BETAS.format(number=subject.removeprefix("sub"))
    if cfg.dataset == "demo":
        return demo_sessions(folder)
    return [str(path) for path in sessions.find(folder, cfg.nsd.sessions, cfg.nsd.format)]


def roi_files(subject, atlases):
    """The volumes of some atlases."""
    return expand(ROI, number=subject.removeprefix("sub"), atlas=atlases)


if cfg.dataset != "demo":
    for subject in cfg.subjects:
        with one_sentence():
            check_published(DESIGN, BRICK, *roi_files(subject, ["nsdgeneral", *cfg.nsd.rois]))
            session_files(subject)


rule nsd_betas:
    input:
        design=DESIGN,
        betas=lambda wildcards: session_files(wildcards.subject),
        mask=lambda wildcards: roi_files(wildcards.subject, "nsdgeneral"),
        rois=lambda wildcards: roi_files(wildcards.subject, cfg.nsd.rois),
    output:
        stimuli="results/{subject}/nsd/stimuli.tsv",
        betas_train="results/{subject}/nsd/betas_train.h5",
        betas_test="results/{subject}/nsd/betas_test.h5",
        rois="results/{subject}/nsd/rois.h5",
    log:
        "results/{subject}/logs/nsd_betas.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_betas.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=keys("nsd.constant_voxels", "nsd.rois"),
        code=code("nsd_betas.py"),
    script:
        "../workflow_scripts/nsd_betas.py"


rule nsd_stimuli:
    input:
        design=DESIGN,
        brick=BRICK,
    output:
        "results/{subject}/nsd/stimuli_{split}.h5",
    log:
        "results/{subject}/logs/nsd_stimuli_{split}.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_stimuli_{split}.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        n_sessions=lambda wildcards: len(session_files(wildcards.subject)),
        code=code("nsd_stimuli.py"),
    script:
        "../workflow_scripts/nsd_stimuli.py"


rule nsd_captions:
    input:
        design=DESIGN,
        captions=cfg.paths.captions,
    output:
        "results/{subject}/nsd/captions.json",
    log:
        "results/{subject}/logs/nsd_captions.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_captions.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        n_sessions=lambda wildcards: len(session_files(wildcards.subject)),
        code=code("nsd_captions.py"),
    script:
        "../workflow_scripts/nsd_captions.py"
