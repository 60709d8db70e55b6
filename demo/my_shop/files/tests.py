import hashlib
import tempfile
from pathlib import Path

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings

from files.archive import BLOCK_BYTES, archive_file, blocks
from files.models import Delivery


class DeliveryTests(TestCase):
    def deliver(self, content, **fields):
        return self.client.post("/dock/", {"file": SimpleUploadedFile("a.bin", content)}, headers=fields)

    def test_answers_with_size_and_hash(self):
        content = bytes(300_000)
        answer = self.deliver(content, accept="application/json").json()
        self.assertEqual(answer, {"name": "a.bin", "size": 300_000, "sha256": hashlib.sha256(content).hexdigest()})

    def test_shows_them_to_people_and_keeps_them(self):
        self.assertContains(self.deliver(b"abc"), hashlib.sha256(b"abc").hexdigest())
        self.assertEqual(Delivery.objects.get().size, 3)

    def test_takes_an_empty_file(self):
        self.assertEqual(self.deliver(b"", accept="application/json").json()["size"], 0)

    def test_says_what_is_missing(self):
        answer = self.client.post("/dock/", {}, headers={"accept": "application/json"})
        self.assertEqual((answer.status_code, list(answer.json()["errors"])), (422, ["file"]))


class ArchiveTests(TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(override_settings(STATE=Path(folder)))

    def test_has_the_size_asked_for_and_numbered_blocks(self):
        parts = list(blocks(2))
        self.assertEqual(sum(map(len, parts)), 2 * 1024 * 1024)
        self.assertEqual({len(part) for part in parts}, {BLOCK_BYTES})
        self.assertEqual([int(part[:15]) for part in parts], list(range(32)))

    def test_is_the_same_as_a_file_and_as_a_stream(self):
        file = self.client.get("/dock/archive/", {"mb": 1})
        stream = self.client.get("/dock/archive/", {"mb": 1, "by": "stream"})
        self.assertEqual(file["Content-Length"], str(1024 * 1024))
        self.assertNotIn("Content-Length", stream)
        self.assertEqual(file.getvalue(), stream.getvalue())

    def test_refuses_other_sizes(self):
        for size in ("0", "-1", "9999999", "much"):
            self.assertEqual(self.client.get("/dock/archive/", {"mb": size}).status_code, 400)

    def test_is_written_once(self):
        with tempfile.TemporaryDirectory() as folder:
            with archive_file(Path(folder), 1) as first, archive_file(Path(folder), 1) as second:
                self.assertEqual(Path(first.name).stat().st_ino, Path(second.name).stat().st_ino)
            self.assertEqual([path.name for path in Path(folder).iterdir()], ["archive-1.bin"])
