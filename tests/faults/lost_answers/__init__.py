"""
A statement or a COMMIT was done, or was not, and the client cannot know which.

A proxy cuts at each round trip of each scenario in turn; everywhere, each statement fails in turn
with the driver's own errors, before or after it was applied.
"""
