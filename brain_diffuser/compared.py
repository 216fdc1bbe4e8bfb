"""The command python -m brain_diffuser.compared."""

from brain_diffuser.workflow.compared import main

if __name__ == "__main__":
    main()
