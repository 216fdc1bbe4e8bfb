"""A rehearsal of this run with random networks and data of the published sizes (docs/real_data.md).

In:  config.rehearsal.yaml
Out: what that writes into its own folder of results, rehearsal.md among it
"""

if ADAPTER is rehearsal.ADAPTER:

    rule rehearsal:
        input:
            rules.all.input,
        localrule: True

else:

    rule rehearsal:
        localrule: True
        threads: workflow.cores
        params:
            files=shlex.join(
                ["--configfile", *map(str, workflow.config_settings.configfiles)]
                if workflow.config_settings.configfiles
                else []
            ),
        shell:
            f"{shlex.quote(sys.executable)} -m brain_diffuser.rehearsal --cores {{threads}} {{params.files}}"
