"""The form with which staff puts a new print on sale."""

from django import forms
from django.utils.text import slugify

from catalog.models import Product

IMAGE_BYTES_MAX = 10 * 1024 * 1024
IMAGE_FORMATS = {"JPEG", "PNG", "WEBP"}


class ProductForm(forms.ModelForm):
    class Meta:
        model = Product
        fields = [
            "name",
            "collection",
            "place",
            "year",
            "summary",
            "description",
            "price",
            "stock",
            "image",
        ]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 5}),
            "image": forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"}),
        }
        help_texts = {
            "summary": "One sentence, shown in lists.",
            "image": "JPEG, PNG or WebP, at most 10 MB. Portrait 4:5 looks best.",
        }

    def clean_image(self):
        upload = self.cleaned_data["image"]
        if upload.size > IMAGE_BYTES_MAX:
            raise forms.ValidationError("This image is larger than 10 MB; please save a smaller one.")
        if upload.image.format not in IMAGE_FORMATS:
            raise forms.ValidationError(
                f"{upload.image.format} images can't be shown by every browser; use JPEG, PNG or WebP."
            )
        return upload

    def save(self, commit=True):
        self.instance.slug = free_slug(self.cleaned_data["name"])
        return super().save(commit)


def free_slug(name):
    """`name` as part of an address, numbered when another product has that address already."""
    base = slugify(name)[:80] or "print"
    taken = set(Product.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    slug, number = base, 1
    while slug in taken:
        number += 1
        slug = f"{base}-{number}"
    return slug
