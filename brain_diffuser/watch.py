"""The command python -m brain_diffuser.watch."""

from brain_diffuser.workflow.watch import main

if __name__ == "__main__":
    main()
