"""What was said in the chat, so that newcomers find a conversation and not an empty room."""

from django.db import models

TEXT_LENGTH_MAX = 500


class Message(models.Model):
    room = models.SlugField(max_length=40, db_index=True)
    author = models.CharField(max_length=60)
    text = models.CharField(max_length=TEXT_LENGTH_MAX)
    sent = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-sent", "-pk"]

    def __str__(self):
        return f"{self.author}: {self.text}"
