"""Fetch, off by default: what the configured run needs, is missing and is published (docs/real_data.md).

In:  fetch.servers, brain_diffuser/workflow/published.tsv
Out: datasets.*.{nsd/{nsddata, nsddata_betas, nsddata_stimuli}, captions, vdvae, {versatile_diffusion, stable_diffusion}/{component}, {ip_adapter, evaluation networks}/{file}}

A rule is there only for what is missing when Snakemake starts: no setting, date or --forceall can then make Snakemake
delete tens of gigabytes to fetch them again. Jobs run where Snakemake does, for a cluster's nodes often see no internet.
They try again by themselves; `retries:` would only repeat what a server or a checksum has refused. Addresses may hold
passwords, so they are no parameters: Snakemake keeps those on disk.
"""

from brain_diffuser.data import nsd

COMPONENTS = [
    "image_unet",
    "text_unet",
    "vae",
    "text_encoder",
    "image_encoder",
    "tokenizer",
    "image_feature_extractor",
]
PUBLISHED = fetch.published()
NSD = Path(PATHS.nsd or "").as_posix()
FETCHED = {
    "nsd": nsd.published_files(cfg) if "nsd" in cfg.fetched else [],
    "captions": [PATHS.captions],
    "vdvae": [PATHS.vdvae],
    "versatile_diffusion": [
        f"{PATHS.versatile_diffusion}/{component}" for component in COMPONENTS
    ],
    "stable_diffusion": [
        f"{PATHS.stable_diffusion}/{component}"
        for component in backbone_registry.BACKBONES["stable_diffusion"].components
    ],
    "ip_adapter": [
        f"{MODEL_PATHS.get('ip_adapter')}/{name.removeprefix('ip_adapter/')}"
        for name in PUBLISHED
        if name.startswith("ip_adapter/")
    ],
    "evaluation_networks": [
        f"{PATHS.evaluation_networks}/{file}"
        for file in evaluation_registry.network_checkpoints(
            cfg.metrics.networks, cfg.metrics.protocol
        )
    ],
}
FETCHED = {key: paths for key, paths in FETCHED.items() if key in cfg.fetched}
MADE.update(Path(path).as_posix() for paths in FETCHED.values() for path in paths)
MISSING = {
    key: [path for path in paths if not Path(path).exists()]
    for key, paths in FETCHED.items()
}
with exit_with_message():
    FILES_MISSING = fetch.missing(
        {key: getattr(PATHS, key) for key in ("captions", "vdvae") if key in FETCHED}
    )


NOTHING_TO_FETCH = (
    f"Nothing is to be fetched: dataset is {cfg.dataset}, fetch.nsd and fetch.models are {cfg.fetch.nsd} and "
    f"{cfg.fetch.models}; choose a dataset that is not simulated and set one of them to true"
)


# What the other stages would fetch by themselves, for a machine that has internet but shall not compute. Stable Diffusion
# and IP-Adapters come when a variant needs them, or by their own names.
rule fetch:
    input:
        lambda wildcards: say_missing_packages()
        or sum(
            (
                local(paths)
                for key, paths in FETCHED.items()
                if key not in ("stable_diffusion", "ip_adapter")
            ),
            [],
        )
        or sys.exit(NOTHING_TO_FETCH),
    localrule: True


if MISSING.get("nsd"):

    rule fetch_nsd:
        output:
            local(f"{NSD}/{{file}}"),
        log:
            "<results>/logs/fetch/{file}.log",
        benchmark:
            "<results>/benchmarks/fetch/{file}.tsv"
        wildcard_constraints:
            file="|".join(
                re.escape(path.removeprefix(f"{NSD}/")) for path in MISSING["nsd"]
            ),
        retries: 0
        localrule: True
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=500,
            downloads=1,
        params:
            source=lambda wildcards: list(
                PUBLISHED.get(wildcards.file, fetch.Published("nsd", wildcards.file))
            ),
        script:
            "../../workflow_scripts/workflow/fetch.py"


for name, published in FILES_MISSING.items():

    rule:
        name:
            f"fetch_{name}"
        output:
            local(getattr(PATHS, name)),
        log:
            f"<results>/logs/fetch/{name}.log",
        benchmark:
            f"<results>/benchmarks/fetch/{name}.tsv"
        retries: 0
        localrule: True
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=500,
            downloads=1,
        params:
            source=list(published),
        script:
            "../../workflow_scripts/workflow/fetch.py"


for model in ("versatile_diffusion", "stable_diffusion"):
    if MISSING.get(model):

        rule:
            name:
                f"fetch_{model}"
            output:
                local(directory(f"{getattr(PATHS, model)}/{{component}}")),
            log:
                f"<results>/logs/fetch/{model}_{{component}}.log",
            benchmark:
                f"<results>/benchmarks/fetch/{model}_{{component}}.tsv"
            wildcard_constraints:
                component="|".join(Path(path).name for path in MISSING[model]),
            retries: 0
            localrule: True
            conda:
                "../../envs/core.yaml"
            resources:
                mem_mb=500,
                downloads=1,
            params:
                model=model,
                source=list(PUBLISHED[model][:2]),
            script:
                "../../workflow_scripts/workflow/fetch_folder.py"


if MISSING.get("ip_adapter"):

    rule fetch_ip_adapter:
        output:
            local(f"{PATHS.ip_adapter}/{{file}}"),
        log:
            "<results>/logs/fetch/ip_adapter/{file}.log",
        benchmark:
            "<results>/benchmarks/fetch/ip_adapter/{file}.tsv"
        wildcard_constraints:
            file="|".join(
                re.escape(path.removeprefix(f"{PATHS.ip_adapter}/"))
                for path in MISSING["ip_adapter"]
            ),
        retries: 0
        localrule: True
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=500,
            downloads=1,
        params:
            source=lambda wildcards: list(PUBLISHED[f"ip_adapter/{wildcards.file}"]),
        script:
            "../../workflow_scripts/workflow/fetch.py"


if MISSING.get("evaluation_networks"):

    rule fetch_evaluation_networks:
        output:
            local(f"{PATHS.evaluation_networks}/{{file}}"),
        log:
            "<results>/logs/fetch/{file}.log",
        benchmark:
            "<results>/benchmarks/fetch/{file}.tsv"
        wildcard_constraints:
            file="|".join(
                re.escape(Path(path).name) for path in MISSING["evaluation_networks"]
            ),
        retries: 0
        localrule: True
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=500,
            downloads=1,
        params:
            source=lambda wildcards: list(PUBLISHED[wildcards.file]),
        script:
            "../../workflow_scripts/workflow/fetch.py"
