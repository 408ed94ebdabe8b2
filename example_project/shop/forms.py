from __future__ import annotations

from datetime import datetime

from django import forms
from django.utils import timezone

from example_project.shop.models import Product, new_reference
from example_project.shop.placing import DECLINED_CARD, GOOD_CARD
from example_project.shop.trials import ZONE, in_a_month, in_seconds
from reliable_effects import WallClock


class OrderForm(forms.Form):
    """What a customer says; the reference makes a form that is sent twice one order."""

    product = forms.ModelChoiceField(Product.objects.all(), empty_label=None)
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)
    email = forms.EmailField(label="E-mail", initial="ada@example.com")
    card = forms.ChoiceField(
        choices={
            GOOD_CARD: "4242: is charged",
            DECLINED_CARD: "0002: is declined, and all rolls back",
        },
        initial=GOOD_CARD,
    )
    gift = forms.BooleanField(required=False, label="Wrap it as a gift")
    reference = forms.RegexField(
        r"^A-[0-9A-F]{10}$", widget=forms.HiddenInput, initial=new_reference
    )


class TrialForm(forms.Form):
    email = forms.EmailField(label="E-mail")
    ends = forms.ChoiceField(
        choices={
            "month": "in a month, at nine",
            "soon": "in 20 seconds",
        }
    )

    def clean_ends(self) -> datetime | WallClock:
        return in_seconds(20) if self.cleaned_data["ends"] == "soon" else in_a_month()


class MoveForm(forms.Form):
    """A time as the customer's wall shows it."""

    ends = forms.DateTimeField(error_messages={"required": "Say when the trial is to end."})

    def clean_ends(self) -> WallClock:
        try:
            ends = WallClock(timezone.make_naive(self.cleaned_data["ends"]), ZONE)
        except ValueError as error:
            raise forms.ValidationError("No trial is as long as that.") from error
        if ends.instant() <= timezone.now():
            raise forms.ValidationError("That has passed. Choose a time that is still to come.")
        return ends
