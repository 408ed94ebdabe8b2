"""
What is hot touches what it needs, however much has ended or lies far ahead.

`crowd` makes the tables full; `touched` counts the rows that each statement of a block really read,
by the server's own counters, and the indexes of its plan. A plan may change with a version of the
server, a count may not.
"""
