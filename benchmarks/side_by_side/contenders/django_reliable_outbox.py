from __future__ import annotations

from .contender import Contender, Kind, manage

CONTENDERS = [
    Contender(
        name="django_reliable_outbox",
        title="django-reliable-outbox",
        kind=Kind.DURABLE,
        application="django_reliable_outbox",
        distributions=("django-reliable-outbox",),
        apps=("reliable_outbox",),
        workers=lambda processes: [manage("outbox_worker")] * processes,
        how="Its README: `@job`, `enqueue` in the transaction, `outbox_worker` with LISTEN.",
    )
]
