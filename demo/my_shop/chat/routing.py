"""Which WebSocket address leads to which consumer."""

from django.urls import path, re_path

from chat.consumers import ChatConsumer, EchoConsumer, NobodyHere

websocket_urlpatterns = [
    path("ws/chat/<slug:room>/", ChatConsumer.as_asgi()),
    path("ws/echo/", EchoConsumer.as_asgi()),
    re_path("", NobodyHere.as_asgi()),
]
