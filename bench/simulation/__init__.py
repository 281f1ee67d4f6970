"""A sweep whose VMs are simulated: API and bucket are real, and so is the laptop's side, which is what is measured."""
