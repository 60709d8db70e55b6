"""The loading dock: large files in, large files out, neither of them ever held in memory."""

import hashlib

from django.conf import settings
from django.http import FileResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from files.archive import archive_file, blocks
from files.forms import ArchiveForm, DeliveryForm
from files.models import Delivery


def sha256_of(upload):
    digest = hashlib.sha256()
    for chunk in upload.chunks(1024 * 1024):
        digest.update(chunk)
    return digest.hexdigest()


@require_http_methods(["GET", "HEAD", "POST"])
def dock(request):
    """Shows the page; takes a file and answers with its size and hash, as JSON to those who ask."""
    form = DeliveryForm(request.POST, request.FILES) if request.method == "POST" else DeliveryForm()
    delivery = None
    if form.is_valid():
        upload = form.cleaned_data["file"]
        delivery = Delivery.objects.create(name=upload.name, size=upload.size, sha256=sha256_of(upload))
    status = 422 if request.method == "POST" and delivery is None else 200
    if request.accepts("application/json") and not request.accepts("text/html"):
        if delivery is None:
            return JsonResponse({"errors": form.errors}, status=status)
        return JsonResponse({"name": delivery.name, "size": delivery.size, "sha256": delivery.sha256})
    return render(
        request,
        "files/dock.html",
        {
            "form": form,
            "archive_form": ArchiveForm(),
            "delivery": delivery,
            "deliveries": Delivery.objects.all()[:8],
        },
        status=status,
    )


@require_safe
def archive(request):
    form = ArchiveForm({"mb": request.GET.get("mb", "50"), "by": request.GET.get("by", "file")})
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    mib = form.cleaned_data["mb"]
    name = f"archive-{mib}.bin"
    if form.cleaned_data["by"] == "file":
        return FileResponse(archive_file(settings.STATE / "archive", mib), as_attachment=True, filename=name)
    return StreamingHttpResponse(
        blocks(mib),
        content_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
