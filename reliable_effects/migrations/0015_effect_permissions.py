from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("reliable_effects", "0014_payload_edit")]

    operations = [
        migrations.AlterModelOptions(
            name="effectcontrol",
            options={
                "default_permissions": ("view",),
                "permissions": [("pause_effect", "Can pause and resume effects")],
                "verbose_name": "effect",
            },
        ),
    ]
