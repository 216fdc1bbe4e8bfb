"""The old name of the command python -m brain_diffuser.resource_usage."""

import sys

SENTENCE = "python -m brain_diffuser.costs is now python -m brain_diffuser.resource_usage; run that"

if __name__ == "__main__":
    is_question = {"-h", "--help"} & set(sys.argv[1:])
    (sys.stdout if is_question else sys.stderr).write(f"{SENTENCE}\n")
    sys.exit(0 if is_question else 1)
