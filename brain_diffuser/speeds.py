"""The command python -m brain_diffuser.speeds."""

from brain_diffuser.workflow.speeds import main

if __name__ == "__main__":
    main()
