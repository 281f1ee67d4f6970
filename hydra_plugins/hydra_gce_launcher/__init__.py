"""``hydra/launcher: gce``: a Compute Engine VM for each point of a sweep."""
