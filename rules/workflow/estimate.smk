"""The hours and the disk of this run, instead of the run itself (docs/watching.md).

In:  the plan of the run, brain_diffuser/workflow/speeds.tsv
Out: none
"""

if "estimate" in sys.argv[1:] and workflow.is_main_process and not IS_MODULE:
    estimate()


# By its name alone; the process is given over before.
rule estimate:
    localrule: True
