"""What is sent to the bucket once and shared by jobs and sweeps: code, data, environment, the launcher itself.

``pack`` takes them together; each has a module of its own. ``archive`` is read on the VM too.
"""
