"""Regions: which voxels belong to which region, in any dataset.

In:  results/{subject}/data/rois.h5, masks of one's own
Out: results/{subject}/data/regions.h5
"""

from brain_diffuser.data import rois


rule regions:
    input:
        rois="<results>/{subject}/data/rois.h5",
        masks=lambda wildcards: mask_files(wildcards.subject),
    output:
        "<results>/{subject}/data/regions.h5",
    log:
        "<results>/{subject}/logs/regions.log",
    benchmark:
        "<results>/{subject}/benchmarks/regions.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        regions=cfg.regions,
        code=code("data/regions.py"),
    script:
        "../../workflow_scripts/data/regions.py"
