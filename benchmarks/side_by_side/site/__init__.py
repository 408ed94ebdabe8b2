"""The Django site that every contender runs in, one at a time: the environment says which."""
