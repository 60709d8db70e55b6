import json

from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.test import TestCase, TransactionTestCase

from chat.consumers import name_of
from chat.models import TEXT_LENGTH_MAX, Message
from my_shop.asgi import application

ORIGIN = (b"origin", b"http://localhost")


class Peer(ApplicationCommunicator):
    """A browser's side of a WebSocket, without the network. (The one of Channels wants Daphne installed.)"""

    def __init__(self, path, *fields):
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": list(fields) or [ORIGIN],
            "subprotocols": [],
        }
        super().__init__(application, scope)

    async def connect(self):
        """Returns whether the server accepted."""
        await self.send_input({"type": "websocket.connect"})
        return (await self.receive_output())["type"] == "websocket.accept"

    async def say(self, text=None, data=None):
        await self.send_input({"type": "websocket.receive", "text": text, "bytes": data})

    async def hear(self):
        event = await self.receive_output()
        assert event["type"] == "websocket.send", event
        return event["text"] if event.get("text") is not None else event["bytes"]

    async def disconnect(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait()


async def event(peer, kind):
    """The next event of this kind."""
    while (content := json.loads(await peer.hear()))["type"] != kind:
        pass
    return content


class ChatTests(TransactionTestCase):
    async def test_everybody_in_the_room_hears_what_is_said(self):
        one, other, elsewhere = Peer("/ws/chat/lobby/"), Peer("/ws/chat/lobby/"), Peer("/ws/chat/travel/")
        for peer in (one, other, elsewhere):
            self.assertTrue(await peer.connect())
        you = (await event(one, "welcome"))["you"]
        await one.say(json.dumps({"text": "  Hello?  "}))
        for peer in (one, other):
            said = await event(peer, "said")
            self.assertEqual((said["author"], said["text"]), (you, "Hello?"))
        await event(elsewhere, "people")
        self.assertTrue(await elsewhere.receive_nothing(timeout=0.05))
        for peer in (one, other, elsewhere):
            await peer.disconnect()
        self.assertEqual(await Message.objects.acount(), 1)

    async def test_people_are_counted(self):
        one, other = Peer("/ws/chat/count/"), Peer("/ws/chat/count/")
        await one.connect()
        self.assertEqual((await event(one, "people"))["count"], 1)
        await other.connect()
        self.assertEqual((await event(one, "people"))["count"], 2)
        await other.disconnect()
        self.assertEqual((await event(one, "people"))["count"], 1)
        await one.disconnect()

    async def test_refuses_what_is_no_message(self):
        one = Peer("/ws/chat/lobby/")
        await one.connect()
        for text in (
            "{",
            "[]",
            "{}",
            '{"text": 5}',
            '{"text": " "}',
            '{"text": "%s"}' % ("x" * (TEXT_LENGTH_MAX + 1)),
        ):
            await one.say(text)
            self.assertIn("a message has 1 to 500 characters", (await event(one, "refused"))["reason"])
        await one.disconnect()

    async def test_refuses_pages_of_other_sites_and_unknown_addresses(self):
        for peer in (
            Peer("/ws/echo/", (b"origin", b"http://evil.example")),
            Peer("/ws/echo/", (b"user-agent", b"no origin at all")),
            Peer("/ws/nowhere/"),
        ):
            self.assertFalse(await peer.connect())

    async def test_echoes_text_and_bytes(self):
        one = Peer("/ws/echo/")
        await one.connect()
        await one.say(text="span ⌒")
        self.assertEqual(await one.hear(), "span ⌒")
        await one.say(data=b"\0\xff")
        self.assertEqual(await one.hear(), b"\0\xff")
        await one.disconnect()


class RoomTests(TestCase):
    def test_shows_the_last_messages_escaped_and_in_order(self):
        for number in range(32):
            Message.objects.create(room="lobby", author="Ada", text=f"<b>{number:02}</b>")
        text = self.client.get("/chat/").content.decode()
        self.assertNotIn("&lt;b&gt;01&lt;", text)
        self.assertLess(text.index("&lt;b&gt;02&lt;"), text.index("&lt;b&gt;31&lt;"))

    def test_people_are_called_by_their_first_name(self):
        self.assertEqual(name_of(User(username="admin", first_name="Ada")), "Ada")
        self.assertEqual(name_of(User(username="admin")), "admin")
        self.assertRegex(name_of(AnonymousUser()), r"^Guest \d{4}$")
