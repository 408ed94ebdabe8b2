"""
How it goes with what was emitted, for those whose it is; everybody else is told "no such event".

In: a subclass that says which rows the asker may see. Out: a document for each event about them,
a list of these, and `cancel`. GET changes nothing.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, models, router
from django.utils.http import parse_etags
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.viewsets import GenericViewSet

from ..effects import other_names
from ..effects.labels import labels_of
from ..outbox.models import Delivery, OutboxEvent
from ..outbox.outward import Outward, events_called
from ..outbox.states import State
from . import documents, subjects
from .cancelling import cancel
from .describing import describe_action, describe_list, describe_one
from .documents import Deliveries, Document, DocumentSerializer
from .paging import NewestFirst
from .problems import Problem, answer_as_problem


class FilterSerializer(serializers.Serializer[Any]):
    """What a list may be narrowed by."""

    kind = serializers.CharField(required=False, help_text="an event's name")
    status = serializers.ChoiceField(choices=Outward.choices, required=False)
    subject = serializers.CharField(required=False, help_text="the primary key of what it is about")


class EffectStatusViewSet(GenericViewSet[OutboxEvent]):
    """
    Subclass it, say whose events are seen, and register it with a `basename`:

        class OrderStatus(EffectStatusViewSet):
            subject = Order
            permission_classes = [IsAuthenticated]

            def owned(self, request):
                return Order.objects.filter(customer=request.user)

    For events without a subject leave `subject` out and override `visible`.
    """

    subject: type[models.Model] | None = None
    kinds: Collection[str] = ()
    """Names of the events that are shown; none named: all about the subject."""
    labels: Mapping[str, str] = {}
    """What effects are called here, by name."""
    hidden: Collection[str] = ()
    """Names of effects that outsiders do not hear of; nor do they count."""
    cancellable: Collection[str] = ()
    """Names of effects that the asker may give up, while they wait."""
    told_errors: Collection[str] = ()
    """Exception types, with their module, whose message may be shown: it was written for customers."""

    serializer_class = DocumentSerializer  # type: ignore[assignment]  # documents are made of events
    pagination_class = NewestFirst
    filter_backends = ()  # a project's own would look for fields that nobody is shown
    lookup_field = "id"
    _namespace: str | None = None  # that of the request; another where another view answers for us

    def owned(self, request: Request) -> models.QuerySet[Any]:
        """The subjects whose events the asker may see. Everything else is not found."""
        raise NotImplementedError

    def visible(
        self, request: Request, events: models.QuerySet[OutboxEvent]
    ) -> models.QuerySet[OutboxEvent]:
        """Those of *events*, which have no subject, that the asker may see."""
        raise NotImplementedError

    def results(self, events: Sequence[OutboxEvent]) -> Mapping[UUID, Any]:  # noqa: ARG002  # for who overrides it
        """JSON that tells what came of *events*, which succeeded, by their id: an address, often."""
        return {}

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        """Refuse, when the addresses are loaded, to be open to everybody."""
        hook = "visible" if cls.subject is None else "owned"
        if getattr(cls, hook) is getattr(EffectStatusViewSet, hook):
            raise ImproperlyConfigured(
                f"{cls.__name__} does not say whose events are seen."
                + (
                    " Say subject = YourModel and override owned(), or for events without a subject"
                    " override visible()."
                    if cls.subject is None
                    else f" Override owned(self, request): the {cls.subject.__name__} rows of its user."
                )
            )
        return super().as_view(actions, **initkwargs)

    # Answers

    @describe_list
    def list(self, request: Request) -> Response:
        wanted = FilterSerializer(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        page = self.paginate_queryset(self._narrowed(self.get_queryset(), wanted.validated_data))
        found = self.documents_of(page or [])
        body = [self.serialised(document) for document in found]
        return self.get_paginated_response(body)

    @describe_one
    def retrieve(self, request: Request, id: str) -> Response:  # noqa: A002  # as the address has it
        return self._answer(self._found(id), request)

    @describe_action
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, id: str) -> Response:  # noqa: A002  # as above
        event = self._found(id)
        rows = self._may_be_cancelled(event)
        # Twice is once: the first answer may have been lost.
        is_given_up = cancel(rows, request, event) or rows.filter(state=State.CANCELLED).exists()
        document = self.documents_of([event])[0]
        if not is_given_up:
            answer_as_problem(request)
            raise Problem(
                "not-cancellable",
                409,
                "It can no longer be cancelled",
                "Nothing was changed: what may be cancelled has begun, or has ended.",
            )
        return Response(self.serialised(document), 200 if document.is_over else 202)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response

    # Documents

    def document_of(self, id_: UUID) -> Document:
        """Of an event that the caller has just emitted."""
        return self.documents_of([OutboxEvent.objects.using(self.alias).get(pk=id_)])[0]

    def documents_of(self, events: Sequence[OutboxEvent]) -> builtins.list[Document]:
        if not events:
            return []
        rows = Deliveries(events, self.alias, self.hidden)
        told = rows.told_messages(self.told_errors)
        called = {event.pk: rows.status(event) for event in events}
        done = [event for event in events if called[event.pk] == Outward.SUCCEEDED]
        results = self.results(done) if done else {}
        return [
            Document(
                id=event.pk,
                kind=event.name,
                subject=event.subject_pk,
                status=called[event.pk],
                created_at=event.emitted_at,
                finished_at=documents.finished_at(called[event.pk], rows.of(event)),
                progress=documents.progress(rows.of(event)),
                deliveries=documents.steps(rows.of(event), self.labels),
                result=results.get(event.pk),
                error=documents.error_of(called[event.pk], rows.of(event), told),
                links=self._links(event, rows.of(event)),
            )
            for event in events
        ]

    def reverse_action(self, url_name: str, *args: Any, **kwargs: Any) -> str:
        if self._namespace is None:
            return super().reverse_action(url_name, *args, **kwargs)
        parts = [self._namespace, f"{self.basename}-{url_name}"]
        kwargs.setdefault("request", self.request)
        return reverse(":".join(filter(None, parts)), *args, **kwargs)

    def serialised(self, document: Document) -> Any:
        return DocumentSerializer(document).data

    def _links(self, event: OutboxEvent, rows: Sequence[Delivery]) -> dict[str, str | None]:
        cancellable = other_names.of_effects(self.cancellable)
        may_be = any(
            row.effect in cancellable and documents.word(row) == Outward.PENDING for row in rows
        )
        of_it = {"id": str(event.pk)}
        return {
            "self": self.reverse_action("detail", kwargs=of_it),
            "cancel": self.reverse_action("cancel", kwargs=of_it) if may_be else None,
        }

    def _answer(self, event: OutboxEvent, request: Request) -> Response:
        document = self.documents_of([event])[0]
        body = self.serialised(document)
        digest = hashlib.sha256(JSONRenderer().render(body)).hexdigest()[:32]
        headers = {"ETag": f'W/"{digest}"'}  # weak: other renderers tell the same otherwise
        if document.retry_after is not None:
            headers["Retry-After"] = str(document.retry_after)
        known = parse_etags(request.headers.get("If-None-Match", ""))
        if "*" in known or digest in {tag.removeprefix("W/").strip('"') for tag in known}:
            return Response(status=304, headers=headers)
        return Response(body, headers=headers)

    # Rows

    @property
    def alias(self) -> str:
        """Where the events are: what was just written may not have reached a replica."""
        return DEFAULT_DB_ALIAS if self.subject is None else router.db_for_write(self.subject)

    def get_queryset(self) -> models.QuerySet[OutboxEvent]:
        """The events that the asker may see."""
        if getattr(self, "swagger_fake_view", False):  # somebody reads the code, and nobody asks
            return OutboxEvent.objects.none()
        events = self._shown()
        if self.subject is None:
            return self.visible(self.request, events)
        return subjects.about(events, self._owned())

    def _shown(self) -> models.QuerySet[OutboxEvent]:
        if self.subject is None:
            events = OutboxEvent.objects.using(self.alias).filter(subject_model="", subject_pk="")
        else:
            labels = labels_of(self.subject)
            events = OutboxEvent.objects.using(self.alias).filter(subject_model__in=labels)
        return events.filter(name__in=other_names.of_events(self.kinds)) if self.kinds else events

    def _owned(self) -> models.QuerySet[Any]:
        rows = self.owned(self.request)
        found, wanted = rows.model._meta, self.subject._meta  # type: ignore[union-attr]  # as annotated
        if found.concrete_model is not wanted.concrete_model:
            raise ImproperlyConfigured(
                f"{type(self).__name__}.owned() gives rows of {found.label}; its subject is"
                f" {wanted.label}, whose events would be told by another's keys."
            )
        return rows.using(self.alias)

    def _found(self, id_: str) -> OutboxEvent:
        """The event, where the asker may see it; the answer does not tell two refusals apart."""
        # First, so that what it cannot say of strangers is answered alike for every id.
        owned = None if self.subject is None else self._owned()
        try:
            events = self._shown().filter(pk=UUID(id_))
        except ValueError:
            events = OutboxEvent.objects.none()
        if owned is None:
            event = self.visible(self.request, events).first()
            is_theirs = event is not None
        else:
            event = events.first()
            is_theirs = event is not None and subjects.owns(owned, event.subject_pk)
        if event is None or not is_theirs:
            answer_as_problem(self.request)
            detail = "There is none of this id, or it is not yours, or it is no longer kept."
            raise Problem("not-found", 404, "No such event", detail)
        return event

    def _narrowed(
        self, events: models.QuerySet[OutboxEvent], wanted: Mapping[str, Any]
    ) -> models.QuerySet[OutboxEvent]:
        if kind := wanted.get("kind"):
            events = events.filter(name__in=other_names.of_events([kind]))
        if subject := wanted.get("subject"):
            events = events.filter(subject_pk=subject)
        if status := wanted.get("status"):
            rows = documents.visible(Delivery.objects.using(self.alias), self.hidden)
            events = events.filter(events_called(Outward(status), rows))
        return events

    def _may_be_cancelled(self, event: OutboxEvent) -> models.QuerySet[Delivery]:
        return Delivery.objects.using(self.alias).filter(
            event=event, effect__in=other_names.of_effects(self.cancellable)
        )
