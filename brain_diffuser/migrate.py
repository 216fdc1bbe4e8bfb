"""The command python -m brain_diffuser.migrate."""

import sys

from brain_diffuser.workflow.migrate import main

if __name__ == "__main__":
    sys.exit(main())
