"""
Jobs of the far future: rows of a table of their own, that become events when their time has come.

`ScheduledJob` serves every event; `AbstractScheduledJob` is for jobs with columns of their own.
"""
