from __future__ import annotations

from django.db import migrations

PRODUCTS = [
    ("teapot", "Teapot", "24.00"),
    ("lamp", "Reading lamp", "59.00"),
    ("chess-set", "Chess set", "35.50"),
    ("umbrella", "Umbrella", "18.90"),
    ("cursed-vase", "Cursed vase", "13.00"),
]


def stock_the_shelves(apps, schema_editor):
    product = apps.get_model("shop", "Product")
    for slug, name, price in PRODUCTS:
        product.objects.using(schema_editor.connection.alias).get_or_create(
            slug=slug, defaults={"name": name, "price": price}
        )


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(stock_the_shelves, migrations.RunPython.noop)]
