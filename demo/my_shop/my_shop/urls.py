"""The routes of the whole site."""

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from my_shop import views

admin.site.site_header = "Arch & Span back office"
admin.site.site_title = "Arch & Span"
admin.site.index_title = "Prints, orders and deliveries"

urlpatterns = [
    path("", include("catalog.urls")),
    path("", include("orders.urls")),
    path("dock/", include("files.urls")),
    path("chat/", include("chat.urls")),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("behind/", views.behind, name="behind"),
    path("behind/request.json", views.request_facts, name="request-facts"),
    path("healthz", views.health, name="health"),
    *(static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT) if settings.DEBUG else []),
]
