"""Chosen: images of a few test stimuli, those of recon.only, before or without all others.

In:  what stage1 and recon read; of the stimulus file the chosen stimuli alone
Out: results/{subject}/chosen/{stage1/*.png, recon/*.png, contact_sheet.png}, and what made them; every image is kept in
     results/{subject}/shards/{stage1, recon}/{nsd_id}.h5, where a later run of all stimuli takes it
"""

CHOSEN = "<results>/{subject}/chosen/"


rule chosen_table:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
    output:
        f"{CHOSEN}stimuli.tsv",
    log:
        "<results>/{subject}/logs/chosen_table.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_table.tsv"
    wildcard_constraints:
        subject="|".join(cfg.subjects),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        only=only,
        code=code("data/chosen.py"),
    script:
        "../../workflow_scripts/data/chosen.py"


use rule stimuli as chosen_stimuli with:
    input:
        unpack(sources("stimuli")),
        stimuli=f"{CHOSEN}stimuli.tsv",
    output:
        images=f"{CHOSEN}stimuli_{{split}}.h5",
    log:
        "<results>/{subject}/logs/chosen_stimuli_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_stimuli_{split}.tsv"
    wildcard_constraints:
        split="test",


use rule stage1_shard as chosen_stage1_shard with:
    input:
        source="<results>/{subject}/ridge/vdvae_test.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
        chosen=f"{CHOSEN}stimuli.tsv",
    output:
        temp("<results>/{subject}/shards/stage1/chosen.h5"),
    log:
        "<results>/{subject}/logs/chosen_stage1_shard.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_stage1_shard.tsv"


use rule gather_images as chosen_stage1 with:
    input:
        shards=["<results>/{subject}/shards/stage1/chosen.h5"],
        like=[f"{CHOSEN}stimuli_test.h5"],
    output:
        images=directory(f"{CHOSEN}stage1"),
        manifest=f"{CHOSEN}stage1_manifest.tsv",
    log:
        "<results>/{subject}/logs/chosen_stage1.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_stage1.tsv"


use rule recon_shard as chosen_recon_shard with:
    input:
        stage1=f"{CHOSEN}stage1",
        manifest=f"{CHOSEN}stage1_manifest.tsv",
        text="<results>/{subject}/ridge/clip_text_test.h5",
        vision="<results>/{subject}/ridge/clip_vision_test.h5",
        clip=both_clips,
        diffusion=versatile_diffusion,
        chosen=f"{CHOSEN}stimuli.tsv",
    output:
        temp("<results>/{subject}/shards/recon/chosen.h5"),
    log:
        "<results>/{subject}/logs/chosen_recon_shard.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_recon_shard.tsv"


use rule gather_images as chosen_recon with:
    input:
        shards=["<results>/{subject}/shards/recon/chosen.h5"],
        like=[f"{CHOSEN}stimuli_test.h5"],
    output:
        images=directory(f"{CHOSEN}recon"),
        manifest=f"{CHOSEN}recon_manifest.tsv",
    log:
        "<results>/{subject}/logs/chosen_recon.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_recon.tsv"


use rule contact_sheet as chosen_contact_sheet with:
    input:
        stimuli=shown_stimuli("<results>/{subject}/chosen"),
        stage1=f"{CHOSEN}stage1",
        stage1_manifest=f"{CHOSEN}stage1_manifest.tsv",
        recon=f"{CHOSEN}recon",
        recon_manifest=f"{CHOSEN}recon_manifest.tsv",
        captions="<results>/{subject}/data/captions.json",
        names=stim_files("<results>/{subject}"),
    output:
        f"{CHOSEN}contact_sheet.png",
    log:
        "<results>/{subject}/logs/chosen_contact_sheet.log",
    benchmark:
        "<results>/{subject}/benchmarks/chosen_contact_sheet.tsv"


for target, images in INSTEAD.items():

    rule:
        name:
            target
        input:
            images,
