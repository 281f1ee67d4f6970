"""What a launch settles before the first VM: the config of each point, its sealed spec, the plan."""
