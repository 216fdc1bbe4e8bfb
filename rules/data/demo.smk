"""The demo dataset: drawn scenes and simulated brains, as the files that NSD publishes (docs/demo.md). They are not data.

Out: datasets.demo.nsd/{nsddata, nsddata_betas, nsddata_stimuli}, datasets.demo.{captions, stable_diffusion}

The files of NSD-Imagery and NSD-synthetic among them are made only if a test set (test_sets) is asked for.
"""

from brain_diffuser.data import demo, nsd, nsd_imagery, nsd_synthetic

DEMO = cfg.datasets["demo"].nsd
DEMO_SESSIONS = nsd.demo_session_files(cfg, nsd.betas_folder(cfg, "{number}"))
DEMO_ROI = nsd.roi_file(cfg, "{number}", "{atlas}")
DEMO_ATLASES = [
    "nsdgeneral",
    "prf-visualrois",
    "prf-eccrois",
    "floc-faces",
    "floc-words",
    "floc-places",
    "floc-bodies",
    "streams",
]
DEMO_DESIGN, DEMO_STIMULUS_FILE = nsd.design_file(cfg), nsd.stimulus_file(cfg)
DEMO_SHOWN = (DEMO_DESIGN, DEMO_STIMULUS_FILE, cfg.datasets["demo"].captions)
DEMO_STABLE_DIFFUSION = [
    f"{cfg.datasets['demo'].stable_diffusion}/{component}"
    for component in backbone_registry.BACKBONES["stable_diffusion"].components
]
DEMO_FORM = {"nifti": ".nii.gz", "hdf5": ".hdf5"}[cfg.demo.format]
# Of the other experiments: betas, tables of runs, target images and stimulus files.
DEMO_IMAGERY, DEMO_SYNTHETIC = (
    next(path for path in paths if path.endswith(DEMO_FORM)).replace(
        "subj01", "subj{number}"
    )
    for paths in (
        kind.betas_files(cfg, "sub01", {"betas": "same"})
        for kind in (nsd_imagery, nsd_synthetic)
    )
)
DEMO_RUNS = [
    path.replace("subj01", "subj{number}")
    for path in nsd_imagery.run_files(cfg, "sub01", nsd_imagery.RUNS)
]
DEMO_TARGETS = nsd_imagery.default_images(cfg)
DEMO_SYNTHETIC_DESIGN = nsd_synthetic.design_file(cfg)
DEMO_SYNTHETIC_STIMULI, DEMO_COLOUR_STIMULI = (
    path.replace("subj01", "subj{number}")
    for path in nsd_synthetic.stimulus_files(cfg, "sub01")
)
DEMO_NUMBERS = [f"{nsd.subject_number(subject):02d}" for subject in cfg.subjects]
MADE.update(
    Path(path).as_posix()
    for path in (
        *(demo.file_of(path, number) for path in DEMO_SHOWN for number in DEMO_NUMBERS),
        *expand(DEMO_SESSIONS, number=DEMO_NUMBERS),
        *expand(DEMO_ROI, number=DEMO_NUMBERS, atlas=DEMO_ATLASES),
        *DEMO_STABLE_DIFFUSION,
        *DEMO_TARGETS,
        DEMO_SYNTHETIC_DESIGN,
        DEMO_SYNTHETIC_STIMULI,
        *expand(
            [DEMO_IMAGERY, DEMO_SYNTHETIC, DEMO_COLOUR_STIMULI, *DEMO_RUNS],
            number=DEMO_NUMBERS,
        ),
    )
)


rule demo_stimuli:
    output:
        design=local(DEMO_DESIGN),
        stimuli=local(DEMO_STIMULUS_FILE),
        captions=local(cfg.datasets["demo"].captions),
    log:
        f"{DEMO}/logs/demo_stimuli.log",
    benchmark:
        f"{DEMO}/benchmarks/demo_stimuli.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(20),
    params:
        cfg=settings("demo.n_train", "demo.n_test", "demo.seed"),
        subjects=[1],
        code=code("data/demo_stimuli.py"),
    script:
        "../../workflow_scripts/data/demo_stimuli.py"


use rule demo_stimuli as demo_stimuli_of with:
    output:
        design=local(demo.file_of(DEMO_DESIGN, "{number}")),
        stimuli=local(demo.file_of(DEMO_STIMULUS_FILE, "{number}")),
        captions=local(demo.file_of(cfg.datasets["demo"].captions, "{number}")),
    log:
        f"{DEMO}/logs/demo_stimuli_{{number}}.log",
    benchmark:
        f"{DEMO}/benchmarks/demo_stimuli_{{number}}.tsv"
    params:
        cfg=settings("demo.n_train", "demo.n_test", "demo.seed"),
        subjects=lambda wildcards: [int(wildcards.number)],
        code=code("data/demo_stimuli.py"),


rule demo_brain:
    input:
        design=lambda wildcards: local(demo.file_of(DEMO_DESIGN, wildcards.number)),
        stimuli=lambda wildcards: local(
            demo.file_of(DEMO_STIMULUS_FILE, wildcards.number)
        ),
    output:
        betas=local(DEMO_SESSIONS),
        rois=local(expand(DEMO_ROI, number="{number}", atlas=DEMO_ATLASES)),
    log:
        f"{DEMO}/logs/demo_brain_{{number}}.log",
    benchmark:
        f"{DEMO}/benchmarks/demo_brain_{{number}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(20),
    params:
        cfg=settings("demo.n_train", "demo.n_test", "demo.seed"),
        code=code("data/demo_brain.py"),
    script:
        "../../workflow_scripts/data/demo_brain.py"


rule demo_targets:
    output:
        images=local(DEMO_TARGETS),
        design=local(DEMO_SYNTHETIC_DESIGN),
        stimuli=local(DEMO_SYNTHETIC_STIMULI),
    log:
        f"{DEMO}/logs/demo_targets.log",
    benchmark:
        f"{DEMO}/benchmarks/demo_targets.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        cfg=settings("demo.seed"),
        code=code("data/demo_targets.py"),
    script:
        "../../workflow_scripts/data/demo_targets.py"


rule demo_experiments:
    input:
        design=lambda wildcards: local(demo.file_of(DEMO_DESIGN, wildcards.number)),
        stimuli=lambda wildcards: local(
            demo.file_of(DEMO_STIMULUS_FILE, wildcards.number)
        ),
    output:
        imagery=local(DEMO_IMAGERY),
        synthetic=local(DEMO_SYNTHETIC),
        runs=local(DEMO_RUNS),
        stimuli=local(DEMO_COLOUR_STIMULI),
    log:
        f"{DEMO}/logs/demo_experiments_{{number}}.log",
    benchmark:
        f"{DEMO}/benchmarks/demo_experiments_{{number}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(20),
    params:
        cfg=settings("demo.n_train", "demo.n_test", "demo.seed"),
        code=code("data/demo_experiments.py"),
    script:
        "../../workflow_scripts/data/demo_experiments.py"


rule demo_stable_diffusion:
    input:
        lambda wildcards: source(
            "datasets.demo.versatile_diffusion",
            expand(
                "{folder}/{component}",
                folder=cfg.datasets["demo"].versatile_diffusion,
                component=[
                    "image_unet",
                    "text_unet",
                    "vae",
                    "text_encoder",
                    "tokenizer",
                ],
            ),
        ),
    output:
        [local(directory(path)) for path in DEMO_STABLE_DIFFUSION],
    log:
        f"{DEMO}/logs/demo_stable_diffusion.log",
    benchmark:
        f"{DEMO}/benchmarks/demo_stable_diffusion.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(10),
    params:
        versatile_diffusion=lambda wildcards: cfg.datasets["demo"].versatile_diffusion,
        stable_diffusion=lambda wildcards: cfg.datasets["demo"].stable_diffusion,
        code=code("data/demo_stable_diffusion.py"),
    script:
        "../../workflow_scripts/data/demo_stable_diffusion.py"
