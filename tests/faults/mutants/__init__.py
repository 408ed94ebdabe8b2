"""
Who guards the guards: each is taken out of a copy of the code, and a test has to notice.

`make mutants` (or `python -m tests.faults.mutants NAME …`) does it; one that nobody notices fails.
"""
