"""The tracking store of a program on a VM."""
