"""A rehearsal of this run with random networks and data of the published sizes (docs/real_data.md).

In:  config.rehearsal.yaml
Out: what that writes into its own folder of results, rehearsal.md among it
"""


def rehearse():
    """Give this process over to the rehearsal, which starts Snakemake by itself."""
    given = [
        each
        for each in workflow.config_settings.config_args
        if not each.startswith(f"{plan.KEY}=")
    ]
    if given:
        stop(
            "a rehearsal takes its settings from files; put what --config says into a file of --configfile"
        )
    files = [str(file) for file in workflow.config_settings.configfiles]
    command = [sys.executable, "-m", "brain_diffuser.rehearsal"]
    command += ["--cores", str(workflow._cores or "all")]
    command += ["--configfile", *files] if files else []
    os.execv(sys.executable, command)


is_asked_for = "rehearsal" in sys.argv[1:] and not {"-n", "--dry-run", "--dryrun"} & {
    *sys.argv
}
if (
    is_asked_for
    and workflow.is_main_process
    and not IS_MODULE
    and ADAPTER is not rehearsal.ADAPTER
):
    rehearse()


# Of the rehearsal's own configuration all that it makes; of any other one the process is given over before.
rule rehearsal:
    input:
        rules.all.input if ADAPTER is rehearsal.ADAPTER else [],
    localrule: True
