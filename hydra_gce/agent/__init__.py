"""All that runs on the VM. Imports nothing from the laptop's side but ``jobs``, ``bucket`` and ``tracking``'s VM half."""
