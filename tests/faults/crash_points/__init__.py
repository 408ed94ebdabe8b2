"""
SIGKILL at every executed line, and then a fresh process drains: what is left is all or nothing.

`make crash-sweep` kills at every place on every database, `make test` at some of them.

A place is a line about to be executed, of `reliable_effects`, of the effects and clients here, or
of the few functions in which Django begins and commits transactions; of a line in a loop the first
and the last time. An uninterrupted run lists them; then each has a trial of its own.

The lines come from `sys.settrace`: it works the same on Python 3.11 to 3.13, where `sys.monitoring`
begins with 3.12, and frames of other files cost it one call. A trial takes about 0.1 s of CPU, and
the drain, which nobody traces, is the larger part of it: another tracer would save little.
"""
