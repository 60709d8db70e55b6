"""The two kinds of WebSocket that the shop speaks, and the answer to any other."""

from collections import Counter
from secrets import randbelow

from channels.db import database_sync_to_async
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
)

from chat.models import TEXT_LENGTH_MAX, Message

present = Counter()  # people per room; one process carries them all


def name_of(user):
    if user.is_authenticated:
        return user.get_short_name() or user.get_username()
    return f"Guest {randbelow(9000) + 1000}"


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One person in one room. Takes {"text": …}; sends {"type": "said" | "people" | "refused", …}."""

    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        self.group = f"chat.{self.room}"
        self.author = name_of(self.scope["user"])
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        present[self.room] += 1
        await self.send_json({"type": "welcome", "you": self.author})
        await self.tell_people()

    async def disconnect(self, code):
        if not hasattr(self, "author"):
            return
        present[self.room] -= 1
        await self.channel_layer.group_discard(self.group, self.channel_name)
        await self.tell_people()

    async def tell_people(self):
        await self.channel_layer.group_send(
            self.group, {"type": "chat.event", "event": {"type": "people", "count": present[self.room]}}
        )

    async def receive_json(self, content, **kwargs):
        text = content.get("text") if isinstance(content, dict) else None
        text = text.strip() if isinstance(text, str) else ""
        if not text or len(text) > TEXT_LENGTH_MAX:
            reason = f"a message has 1 to {TEXT_LENGTH_MAX} characters, this one {len(text)}"
            await self.send_json({"type": "refused", "reason": reason})
            return
        message = await database_sync_to_async(Message.objects.create)(room=self.room, author=self.author, text=text)
        event = {
            "type": "said",
            "author": message.author,
            "text": message.text,
            "sent": message.sent.isoformat(),
        }
        await self.channel_layer.group_send(self.group, {"type": "chat.event", "event": event})

    async def chat_event(self, message):
        await self.send_json(message["event"])

    @classmethod
    async def decode_json(cls, text_data):
        try:
            return await super().decode_json(text_data)
        except ValueError:
            return None


class EchoConsumer(AsyncWebsocketConsumer):
    """Sends back what it gets, text or bytes: for those who test the way in between."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


class NobodyHere(AsyncWebsocketConsumer):
    """Refuses the handshake of an address that leads nowhere."""

    async def connect(self):
        await self.close()
