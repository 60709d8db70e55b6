from django.urls import path

from files import views

urlpatterns = [
    path("", views.dock, name="dock"),
    path("archive/", views.archive, name="archive"),
]
