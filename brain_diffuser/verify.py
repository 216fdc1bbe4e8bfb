"""The command python -m brain_diffuser.verify."""

import sys

from brain_diffuser.workflow.verify import main

if __name__ == "__main__":
    sys.exit(main())
