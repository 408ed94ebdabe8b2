"""Clocks that are wrong, jump, stand still or change their offset: the database's alone decides."""
