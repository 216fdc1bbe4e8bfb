"""The command python -m brain_diffuser.rehearsal."""

from brain_diffuser.workflow.rehearsal import main

if __name__ == "__main__":
    main()
