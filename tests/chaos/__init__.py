"""
`make chaos`: the shop under load while a seeded nemesis breaks everything around it.

The client keeps a journal, the partners a ledger, the shop its own tables; `checker` compares the
three, and knows nothing of the tables of reliable_effects.
"""
