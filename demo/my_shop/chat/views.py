from django.shortcuts import render
from django.views.decorators.http import require_safe

from chat.models import TEXT_LENGTH_MAX, Message

ROOMS = {"lobby": "Lobby", "framing": "Framing", "travel": "Travel tips"}
SHOWN_MAX = 30


@require_safe
def room(request, room="lobby"):
    """The page; what is said while it is open comes over the WebSocket."""
    said = reversed(Message.objects.filter(room=room)[:SHOWN_MAX])
    return render(
        request,
        "chat/room.html",
        {
            "room": room,
            "title": ROOMS.get(room, room),
            "rooms": ROOMS,
            "said": said,
            "text_length_max": TEXT_LENGTH_MAX,
        },
    )
