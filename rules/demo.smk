"""The demo world: drawn scenes and simulated brains, as the files that NSD publishes.

Out: the inputs of stage 1
"""

from demo import world

if cfg.dataset == "demo":
    with one_sentence():
        DEMO_SESSIONS = range(1, 1 + world.n_sessions(cfg.demo.n_train, cfg.demo.n_test))
        if cfg.nsd.sessions != "all" and cfg.nsd.sessions not in DEMO_SESSIONS:
            raise ValueError(
                f"nsd.sessions is {cfg.nsd.sessions}, and the demo has {len(DEMO_SESSIONS)} sessions; "
                f"set all, or raise demo.n_train by 250 for each more."
            )

    def demo_sessions(folder, wanted=cfg.nsd.sessions):
        """The sessions that the demo writes, or the first of them."""
        suffix = ".nii.gz" if cfg.nsd.format == "nifti" else ".hdf5"
        files = [f"{folder}/betas_session{session:02d}{suffix}" for session in DEMO_SESSIONS]
        return files if wanted == "all" else files[:wanted]

    rule demo_stimuli:
        input:
            objects="demo/pictures",
        output:
            design=DESIGN,
            stimuli=BRICK,
            captions=cfg.paths.captions,
        log:
            "results/demo/logs/demo_stimuli.log",
        benchmark:
            "results/demo/benchmarks/demo_stimuli.tsv"
        conda:
            "../envs/core.yaml"
        threads: 8
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            cfg=keys("demo"),
            subjects=[int(subject.removeprefix("sub")) for subject in cfg.subjects],
            code=code("demo_stimuli.py"),
        script:
            "../workflow_scripts/demo_stimuli.py"

    rule demo_brain:
        input:
            design=DESIGN,
            stimuli=BRICK,
        output:
            rois=expand(ROI, number="{number}", atlas=["nsdgeneral", *cfg.nsd.rois]),
            betas=demo_sessions(BETAS, "all"),
        log:
            "results/demo/logs/demo_brain_{number}.log",
        benchmark:
            "results/demo/benchmarks/demo_brain_{number}.tsv"
        conda:
            "../envs/gpu.yaml"
        threads: 8
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            cfg=keys("demo"),
            subject=lambda wildcards: int(wildcards.number),
            code=code("demo_brain.py"),
        script:
            "../workflow_scripts/demo_brain.py"
