from django.urls import path

from chat import views

urlpatterns = [
    path("", views.room, name="chat"),
    path("<slug:room>/", views.room, name="chat-room"),
]
