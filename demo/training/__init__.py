"""Training of the demo's small models; see demo/models/*/README.md for what came out."""
