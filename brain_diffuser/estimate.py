"""The command python -m brain_diffuser.estimate."""

from brain_diffuser.workflow.estimate import main

if __name__ == "__main__":
    main()
