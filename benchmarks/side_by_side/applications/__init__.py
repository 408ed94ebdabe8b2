"""
What a shop writes with each contender: `owe`, `fill`, `unfinished`, and its tasks.

See `contenders.contender.Application`. Imported only where Django runs with that contender's settings.
"""
