"""Authors, their books with a cover and a manuscript, and the books' chapters."""

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=60)

    class Meta:
        ordering = ["pk"]

    def __str__(self):
        return self.name


class Book(models.Model):
    title = models.CharField(max_length=80, unique=True)
    slug = models.SlugField()
    author = models.ForeignKey(Author, on_delete=models.PROTECT)
    published = models.DateField(null=True, blank=True)
    price = models.DecimalField(max_digits=6, decimal_places=2)
    listed = models.BooleanField(default=True)
    cover = models.ImageField(upload_to="covers", blank=True)
    manuscript = models.FileField(upload_to="manuscripts", blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return self.title


class Chapter(models.Model):
    book = models.ForeignKey(Book, on_delete=models.CASCADE)
    title = models.CharField(max_length=80)

    def __str__(self):
        return self.title
