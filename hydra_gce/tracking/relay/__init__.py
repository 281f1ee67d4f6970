"""Plays what the VMs' programs logged into the store that the laptop's environment names."""
