"""The command python -m brain_diffuser.score_images."""

import sys

from brain_diffuser.workflow.score_images import main

if __name__ == "__main__":
    sys.exit(main())
