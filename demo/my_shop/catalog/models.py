"""What is on sale: prints, sorted into a few collections."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse


class Collection(models.Model):
    name = models.CharField(max_length=60)
    slug = models.SlugField(unique=True)
    blurb = models.CharField(max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "name"]

    def __str__(self):
        return self.name


class ProductQuerySet(models.QuerySet):
    SORTS = {
        "newest": ("-created", "-pk"),
        "name": ("name",),
        "price": ("price", "name"),
        "year": ("year", "name"),
    }

    def matching(self, text):
        """Every word has to occur somewhere in what is said about the product."""
        found = self
        for word in text.split()[:8]:
            found = found.filter(
                Q(name__icontains=word)
                | Q(place__icontains=word)
                | Q(summary__icontains=word)
                | Q(description__icontains=word)
                | Q(collection__name__icontains=word)
            )
        return found

    def sorted_by(self, sort):
        return self.order_by(*self.SORTS.get(sort, self.SORTS["newest"]))


class Product(models.Model):
    collection = models.ForeignKey(Collection, on_delete=models.PROTECT, related_name="products")
    name = models.CharField(max_length=80)
    slug = models.SlugField(max_length=90, unique=True)
    place = models.CharField(max_length=80, blank=True)
    year = models.PositiveSmallIntegerField("opened in", null=True, blank=True)
    summary = models.CharField(max_length=160)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, validators=[MinValueValidator(0)])
    stock = models.PositiveIntegerField(default=0)
    image = models.ImageField(upload_to="products/")
    featured = models.BooleanField("large on the front page", default=False)
    created = models.DateTimeField(auto_now_add=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("product", args=[self.slug])
