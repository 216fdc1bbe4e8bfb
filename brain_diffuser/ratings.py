"""The command python -m brain_diffuser.ratings."""

import sys

from brain_diffuser.workflow.ratings import main

if __name__ == "__main__":
    sys.exit(main())
