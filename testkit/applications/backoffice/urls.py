"""The administration, and its files by Django's own views: as FileResponse, which is `wsgi.file_wrapper`'s user."""

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve as serve_static
from django.urls import path, re_path
from django.views.static import serve

urlpatterns = [
    path("admin/", admin.site.urls),
    re_path("^static/(?P<path>.*)$", serve_static, {"insecure": True}),
    re_path("^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
]
