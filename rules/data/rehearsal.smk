"""The inputs of a rehearsal: a session of betas, stimuli, captions and networks of the published shapes, all random.

Out: datasets.rehearsal.{nsd, captions, vdvae, versatile_diffusion}
"""

from brain_diffuser.data import nsd, rehearsal

REHEARSAL_ATLASES = [cfg.nsd.mask, *cfg.nsd.rois]
REHEARSAL_ROIS = [
    nsd.roi_file(cfg, f"{nsd.subject_number(cfg.subjects[0]):02d}", atlas)
    for atlas in REHEARSAL_ATLASES
]
REHEARSAL_NETWORKS = [
    f"{PATHS.versatile_diffusion}/{component}"
    for component in (
        *("image_unet", "text_unet", "vae", "text_encoder", "image_encoder"),
        *("tokenizer", "image_feature_extractor"),
    )
]
MADE.update(
    Path(path).as_posix()
    for path in (
        *(nsd.design_file(cfg), nsd.stimulus_file(cfg), PATHS.captions, PATHS.vdvae),
        *rehearsal.session_files(cfg, cfg.subjects[0]),
        *(*REHEARSAL_ROIS, *REHEARSAL_NETWORKS),
    )
)


rule rehearsal_experiment:
    output:
        design=local(nsd.design_file(cfg)),
        stimuli=local(nsd.stimulus_file(cfg)),
        captions=local(PATHS.captions),
        betas=local(rehearsal.session_files(cfg, cfg.subjects[0])),
        rois=local(REHEARSAL_ROIS),
    log:
        "<results>/rehearsal/logs/experiment.log",
    benchmark:
        "<results>/rehearsal/benchmarks/experiment.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(20),
    params:
        settings=PATHS.settings,
        subject=nsd.subject_number(cfg.subjects[0]),
        atlases=REHEARSAL_ATLASES,
        code=code("data/rehearsal_experiment.py"),
    script:
        "../../workflow_scripts/data/rehearsal_experiment.py"


rule rehearsal_networks:
    output:
        vdvae=local(PATHS.vdvae),
        versatile_diffusion=[local(directory(path)) for path in REHEARSAL_NETWORKS],
    log:
        "<results>/rehearsal/logs/networks.log",
    benchmark:
        "<results>/rehearsal/benchmarks/networks.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(8000),
        runtime=scaled_by_attempt(20),
    params:
        settings=PATHS.settings,
        folder=PATHS.versatile_diffusion,
        code=code("data/rehearsal_networks.py"),
    script:
        "../../workflow_scripts/data/rehearsal_networks.py"
