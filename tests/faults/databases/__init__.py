"""
Faults of the database itself: too many writers, full, killed, cut off, read-only, locked.

An app of a small project of its own, which runs in child processes on a database that a test may
hurt: `project.Project` starts its processes, and judges from the file that the effects append to.
"""
