"""
The shop's fixture: the routes that `python -m reliable_effects.conformance` calls.

`handlers` says what each route does, `routes` how it is guarded, `plain` and `drf` make views of
that, `control` are the routes outside the guard, and `serve` starts it all.
"""
