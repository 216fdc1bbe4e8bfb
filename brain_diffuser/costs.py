"""The old name of the command python -m brain_diffuser.resource_usage."""

import sys

if __name__ == "__main__":
    sys.exit("python -m brain_diffuser.costs is now python -m brain_diffuser.resource_usage; run that")
