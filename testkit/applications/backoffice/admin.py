"""What a back office's administration usually uses: search, filters, editable lists, inlines, actions on several."""

import csv

from django.contrib import admin
from django.http import StreamingHttpResponse

from backoffice.models import Author, Book, Chapter


class Echo:
    """A file for csv.writer, whose lines are what `writerow` returns."""

    def write(self, line):
        return line


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):
    search_fields = ["name"]


class Chapters(admin.TabularInline):
    model = Chapter
    extra = 1


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "price", "listed"]
    list_editable = ["price"]
    list_filter = ["listed", "author"]
    list_per_page = 5
    search_fields = ["title", "author__name"]
    date_hierarchy = "published"
    autocomplete_fields = ["author"]
    prepopulated_fields = {"slug": ["title"]}
    inlines = [Chapters]
    actions = ["unlist", "export"]

    @admin.action(description="Take off the list")
    def unlist(self, request, books):
        self.message_user(request, "%d books are no longer listed" % books.update(listed=False))

    @admin.action(description="Export")
    def export(self, request, books):
        rows = books.order_by("pk").values_list("title", "author__name", "price")
        lines = (csv.writer(Echo()).writerow(row) for row in rows)
        return StreamingHttpResponse(lines, content_type="text/csv", headers={"Content-Disposition": 'attachment; filename="books.csv"'})
