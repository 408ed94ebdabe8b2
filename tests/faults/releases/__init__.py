"""
Two releases share the tables during a deploy: of a project (yesterday, today), and of this package.

Each process is of one release: RELEASE names the project's, PYTHONPATH finds the package's.
"""
