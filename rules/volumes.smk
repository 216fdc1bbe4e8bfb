"""Stage 6, volumes: what is known of each voxel as NIfTI volumes in the subject's own space, and drawings of them.

In:  results/{subject}/{nsd/{stimuli.tsv, betas_test.h5, rois.h5, regions.h5}, encoding/betas_test.h5}
Out: results/{subject}/volumes/{encoding_accuracy, noise_ceiling, region_{name}}.nii.gz, volumes/*.png
"""


rule volumes:
    input:
        predicted_betas="<results>/{subject}/encoding/betas_test.h5",
        betas="<results>/{subject}/nsd/betas_test.h5",
        rois="<results>/{subject}/nsd/rois.h5",
        regions="<results>/{subject}/nsd/regions.h5",
        trials="<results>/{subject}/nsd/stimuli.tsv",
    output:
        directory("<results>/{subject}/volumes"),
    log:
        "<results>/{subject}/logs/volumes.log",
    benchmark:
        "<results>/{subject}/benchmarks/volumes.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        world=WORLD.name,
        code=code("volumes.py"),
    script:
        "../workflow_scripts/volumes.py"
