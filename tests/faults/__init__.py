"""
The core under faults: what is killed, cut, frozen, filled, lied to and broken on purpose.

Each test names its fault with `@pytest.mark.fault` and counts into `evidence`; `make proof` runs
all of them at full length on every database and writes docs/explanation/proof.md from the counts.
"""
