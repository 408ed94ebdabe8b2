"""
`make bench`: this package and its peers on the same work, alternating, in one run on one machine.

`contenders` say how each is set up, `applications` what a shop writes with each, `works` what is
measured, `figures` what becomes of the samples, and `goals` what we want of them.
"""
