"""
A Hypothesis machine over the real core and a real database: any order of work and faults.

Rules do what users, workers, sweeps, people and accidents do. After each the rows, the file of the
outside world and a trigger's record of every single UPDATE are compared with a small model.
"""
