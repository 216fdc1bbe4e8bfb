"""Regions: which voxels belong to which region, in any dataset.

In:  results/{subject}/data/rois.h5, masks of one's own
Out: results/{subject}/data/regions.h5
"""

from brain_diffuser.data import rois


def mask_files(subject):
    """The masks of one's own that a subject's regions are made of."""
    paths = []
    for name, definition in cfg.regions.items():
        path = rois.mask_file(definition, subject)
        if path and not path.is_file():
            wrong = "is a folder" if path.is_dir() else "does not exist"
            fix = source_files.hint(
                path, otherwise="put a volume there or correct the path"
            )
            sys.exit(f"roi.regions.{name} reads {path}, which {wrong}; {fix}")
        paths += [str(path)] if path else []
    return local(paths)


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
