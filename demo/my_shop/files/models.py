"""Large files that were handed in. Their content is not kept, only what was measured."""

from django.db import models


class Delivery(models.Model):
    name = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    received = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-received", "-pk"]
        verbose_name_plural = "deliveries"

    def __str__(self):
        return self.name
