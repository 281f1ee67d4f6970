"""Functions on VMs, from Python: ``submit``, ``map``, ``attach``, and the jobs that they give."""
