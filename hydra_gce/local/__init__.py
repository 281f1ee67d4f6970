"""The embedded Compute Engine: this machine plays the cloud, reached over HTTP only.

Nothing in here imports the rest of `hydra_gce`, and nothing outside imports it: `python -m hydra_gce.local` starts,
stops and describes it.
"""
