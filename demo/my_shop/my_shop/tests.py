import tempfile
from pathlib import Path

from django.contrib.auth.models import User
from django.test import Client, SimpleTestCase, TestCase, override_settings

from my_shop.secret import secret_key


class SecretKeyTests(SimpleTestCase):
    def test_is_made_once_and_for_the_owner_only(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "new" / "secret-key"
            key = secret_key(path)
            self.assertGreaterEqual(len(key), 50)
            self.assertEqual(secret_key(path), key)
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertEqual(list(path.parent.iterdir()), [path])


@override_settings(ALLOWED_HOSTS=["shop.example"])
class SiteTests(TestCase):
    def test_the_front_server_is_believed(self):
        facts = self.client.get(
            "/behind/request.json", headers={"host": "shop.example:8080", "x-forwarded-proto": "https"}
        ).json()
        self.assertEqual(facts["url"], "https://shop.example:8080/behind/request.json")

    def test_other_hosts_are_refused(self):
        self.assertEqual(self.client.get("/", headers={"host": "evil.example"}).status_code, 400)

    def test_everything_comes_from_this_site(self):
        answer = self.client.get("/behind/", headers={"host": "shop.example"})
        self.assertIn("default-src 'self'", answer["Content-Security-Policy"])
        self.assertNotIn(b'src="http', answer.content)

    def test_health_reads_the_database(self):
        with self.assertNumQueries(1):
            self.assertEqual(self.client.get("/healthz", headers={"host": "shop.example"}).content, b"ok\n")

    def test_forms_without_their_token_are_refused(self):
        User.objects.create_user("maya", password="viaduct-maya")
        strict = Client(enforce_csrf_checks=True, headers={"host": "shop.example"})
        answer = strict.post("/accounts/login/", {"username": "maya", "password": "viaduct-maya"})
        self.assertContains(answer, "could not be sure it was you", status_code=403)

    def test_leaving_takes_a_form(self):
        shop = Client(headers={"host": "shop.example"})
        shop.force_login(User.objects.create_user("maya"))
        self.assertEqual(shop.get("/accounts/logout/").status_code, 405)
        self.assertRedirects(shop.post("/accounts/logout/"), "/", fetch_redirect_response=False)
