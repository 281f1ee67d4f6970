"""MLflow on VMs that cannot reach it: a journal on the VM, a relay on the laptop.

On the VM a program's plain ``mlflow`` calls end in ``store``, which keeps a database of its own and writes
every change to a ``journal``. The agent carries the journal to the bucket in parts; on the laptop ``relay``
plays the parts into the store that the laptop's environment names. ``docs/tracking.md`` tells the whole.
"""
