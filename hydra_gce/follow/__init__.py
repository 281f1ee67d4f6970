"""The process that follows a sweep to its end, or looks on: its loop, Ctrl-C, what others read of it."""
