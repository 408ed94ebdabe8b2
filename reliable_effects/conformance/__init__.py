"""
The conformance suite of incoming idempotency keys: 42 black-box cases, over HTTP.

    python -m reliable_effects.conformance http://127.0.0.1:8000

It runs against any server, in any language, that offers the fixture routes (docs/reference/
conformance.md), needs no Django settings and the standard library only. Six of the routes and the
names of 20 cases are those of the public vectors of sns45/anyonce, so that results compare; the
vectors were written again here.
"""
