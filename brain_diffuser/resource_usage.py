"""The command python -m brain_diffuser.resource_usage."""

from brain_diffuser.workflow.resource_usage import main

if __name__ == "__main__":
    main()
