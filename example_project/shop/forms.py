from __future__ import annotations

from django import forms

from example_project.shop.models import Product, new_reference
from example_project.shop.placing import DECLINED_CARD, GOOD_CARD


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
