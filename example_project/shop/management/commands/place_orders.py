from __future__ import annotations

import random
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from example_project.shop.models import Product, new_reference
from example_project.shop.placing import place_order


class Command(BaseCommand):
    help = "Place N orders, to see the shop under load."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", type=int, metavar="N")

    def handle(self, *, number: int, **_: object) -> None:
        products = list(Product.objects.all())
        if not products:
            raise CommandError("The shop has no products. Run migrate first.")
        for n in range(number):
            place_order(
                reference=new_reference(),
                product=random.choice(products),
                quantity=random.randint(1, 3),
                email=f"customer{n % 50}@example.com",
                gift=n % 3 == 0,
                placed_from="command",
            )
        self.stdout.write(self.style.SUCCESS(f"{number} orders placed."))
