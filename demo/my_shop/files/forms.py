from django import forms

from files.archive import MIB_MAX


class DeliveryForm(forms.Form):
    file = forms.FileField(label="File", allow_empty_file=True, max_length=200)


class ArchiveForm(forms.Form):
    mb = forms.IntegerField(label="Size in MiB", min_value=1, max_value=MIB_MAX, initial=50)
    by = forms.ChoiceField(
        label="Sent as",
        choices=[("file", "a file, its size known"), ("stream", "a stream, its size unknown")],
        initial="file",
    )
