"""A rehearsal of this run with random networks and data of the published sizes (docs/real_data.md).

In:  config.rehearsal.yaml
Out: what that writes into its own folder of results, rehearsal.md among it
"""

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
