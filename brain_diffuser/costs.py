"""The command python -m brain_diffuser.costs."""

from brain_diffuser.workflow.resource_usage import main

if __name__ == "__main__":
    main()
