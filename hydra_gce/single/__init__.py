"""A single run of a program: one job on a VM, asked for without Hydra's multirun."""
