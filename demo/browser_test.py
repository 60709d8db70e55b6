#!/usr/bin/env python3
"""What a person does in the shop, done by a headless Chromium: one line per step, exit code 0 or 1.

    browser_test.py http://127.0.0.1:8080 [--screenshots FOLDER]

Signs in as staff, puts a print with an image on sale, sees the image served from /media/, orders the print and
chats in two tabs. Needs demo/requirements-test.txt and Debian's packages chromium and chromium-driver; downloads
nothing.
"""

import argparse
import os
import shutil
import signal
import struct
import sys
import tempfile
import time
import urllib.parse
import zlib
from pathlib import Path

os.environ["SE_OFFLINE"] = "true"  # selenium is given its driver; it shall look for no other
os.environ["SE_AVOID_STATS"] = "true"

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support import expected_conditions as seen  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

WAIT_SECONDS = 20
ARRIVED = "return !window.still_here && document.readyState === 'complete'"
STAFF = ("admin", "viaduct-admin")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--window-size=1280,1000",
)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through `finally`, so that the browser goes too
    with tempfile.TemporaryDirectory(prefix="shop-browser-", ignore_cleanup_errors=True) as scratch:
        try:
            browser = start_browser(options, Path(scratch))
        except (WebDriverException, OSError) as problem:
            print(f"FAIL  start the browser: {first_line(problem)}", flush=True)
            return 1
        try:
            return run(Visit(browser, options, Path(scratch)))
        finally:
            browser.quit()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="address of the site, e.g. http://127.0.0.1:8080")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    parser.add_argument("--driver", default=shutil.which("chromedriver") or "/usr/bin/chromedriver")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="keep a picture of every step")
    options = parser.parse_args()
    for program in (options.chromium, options.driver):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; apt-get install chromium chromium-driver")
    options.base = options.base.rstrip("/")
    return options


def start_browser(options, scratch):
    settings = webdriver.ChromeOptions()
    settings.binary_location = options.chromium
    for flag in (*FLAGS, f"--user-data-dir={scratch / 'profile'}"):
        settings.add_argument(flag)
    settings.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(settings, webdriver.ChromeService(executable_path=options.driver))


def run(visit):
    """All steps in order, as each needs those before; the first that fails ends the visit."""
    for number, step in enumerate(STEPS, 1):
        started = time.monotonic()
        try:
            note, good = step(visit), True
        except (StepFailed, WebDriverException) as problem:
            note, good = first_line(problem), False
        print(
            f"{'ok  ' if good else 'FAIL'}  {step.__doc__}: {note}  ({time.monotonic() - started:.2f}s)",
            flush=True,
        )
        visit.picture(f"{number:02}-{step.__name__}")
        if not good:
            return 1
    print(f"{len(STEPS)} of {len(STEPS)} steps passed on {visit.base}", flush=True)
    return 0


def first_line(problem):
    lines = str(problem).replace("Message: ", "").strip().splitlines()
    return f"{type(problem).__name__}: {lines[0] if lines else 'no further word'}"


class StepFailed(Exception):
    """Says what was expected and what came instead."""


class Visit:
    """One browser on its way through the shop, and what it has learnt."""

    def __init__(self, browser, options, scratch):
        self.browser, self.base, self.scratch = browser, options.base, scratch
        self.pictures = options.screenshots
        self.name = f"Test span {os.urandom(3).hex()}"

    def open(self, path):
        self.browser.get(self.base + path)

    def until(self, condition, what):
        patience = WebDriverWait(self.browser, WAIT_SECONDS, 0.05, ignored_exceptions=(WebDriverException,))
        return patience.until(condition, f"{what} did not happen within {WAIT_SECONDS} s on {self.browser.current_url}")

    def one(self, css):
        return self.until(seen.visibility_of_element_located((By.CSS_SELECTOR, css)), f'"{css}" becoming visible')

    def fill(self, css, text):
        field = self.one(css)
        field.clear()
        field.send_keys(text)

    def leave(self, button):
        """Presses a button and waits for the page after this one."""
        element = self.one(button)
        self.browser.execute_script("window.still_here = true")
        element.click()
        # Asked of the page and not of the button: chromedriver trips over a button that is just going away.
        self.until(lambda browser: browser.execute_script(ARRIVED), f'leaving the page by "{button}"')

    def path(self):
        return urllib.parse.urlsplit(self.browser.current_url).path

    def picture(self, name):
        if self.pictures:
            self.pictures.mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(self.pictures / f"{name}.png"))


def expect(condition, message):
    if not condition:
        raise StepFailed(message)


def sign_in(visit):
    """sign in as staff"""
    visit.open("/accounts/login/?next=/prints/new/")
    visit.fill("#id_username", STAFF[0])
    visit.fill("#id_password", STAFF[1])
    visit.leave("#login button")
    expect(visit.path() == "/prints/new/", f"expected the staff's form after the login, got {visit.path()}")
    return STAFF[0]


def add_print(visit):
    """add a print with an image"""
    image = visit.scratch / "span.png"
    image.write_bytes(picture(400, 500))
    for name, text in {
        "name": visit.name,
        "place": "Testbed",
        "year": "2026",
        "summary": "A span that exists for one test.",
        "description": "It leads from the browser to the database.",
        "price": "12.50",
        "stock": "7",
        "image": str(image),
    }.items():
        field = visit.one(f"#id_{name}")
        if name != "image":
            field.clear()
        field.send_keys(text)
    Select(visit.one("#id_collection")).select_by_visible_text("Concrete")
    visit.leave("#add-product button")
    expect(visit.path().startswith("/prints/test-span-"), f"expected the new print's page, got {visit.path()}")
    visit.product = visit.path()
    return visit.product


def see_image(visit):
    """see its image, served from /media/"""
    image = visit.one("#product-image")
    visit.until(lambda browser: image.get_property("complete"), "loading the image")
    source, width = image.get_property("currentSrc"), image.get_property("naturalWidth")
    expect(
        source.startswith(f"{visit.base}/media/products/"),
        f"the image should come from /media/products/, comes from {source}",
    )
    expect(width == 400, f"the image should be 400 pixels wide, is {width}")
    entry = visit.browser.execute_script(
        "const e = performance.getEntriesByName(arguments[0])[0]; return e && [e.responseStatus, e.nextHopProtocol]",
        source,
    )
    expect(entry and entry[0] == 200, f"the browser got {entry} for {source}")
    visit.image = source
    return f"{source}, {width} pixels wide, status {entry[0]}, {entry[1]}"


def find_print(visit):
    """find it by searching"""
    visit.fill("#find", visit.name)
    visit.leave(".find button")
    expect(visit.one("#count").text == "1 print found", f'expected one print, got "{visit.one("#count").text}"')
    visit.one(f'.card a[href="{visit.product}"]').click()
    visit.until(seen.url_to_be(visit.base + visit.product), "opening the print's page")
    return f'"{visit.name}"'


def fill_cart(visit):
    """put two into the cart"""
    Select(visit.one("#quantity")).select_by_visible_text("2")
    visit.leave("#add-to-cart")
    expect(visit.path() == "/cart/", f"expected the cart, got {visit.path()}")
    total, count = visit.one("#cart-total").text, visit.one("[data-cart-count]").text
    expect((total, count) == ("€ 25.00", "2"), f"expected 2 pieces for € 25.00, got {count} for {total}")
    return f"{count} pieces, {total}"


def place_order(visit):
    """order them"""
    visit.leave("#checkout")
    expect(visit.path().startswith("/orders/"), f"expected the order's page, got {visit.path()}")
    expect(visit.name in visit.one("table").text, "the order does not name the print")
    return visit.path()


def chat(visit):
    """chat in two tabs"""
    browser, tabs = visit.browser, []
    for _ in range(2):
        browser.switch_to.new_window("tab")
        visit.open("/chat/lobby/")
        visit.until(seen.element_to_be_clickable((By.ID, "send")), "connecting the WebSocket")
        tabs.append(browser.current_window_handle)
    exchange = (
        (tabs[0], tabs[1], f"Hello from the first tab {visit.name}"),
        (tabs[1], tabs[0], f"Heard in the second tab {visit.name}"),
    )
    for speaker, listener, words in exchange:
        browser.switch_to.window(speaker)
        visit.fill("#text", words)
        visit.one("#send").click()
        browser.switch_to.window(listener)
        heard = seen.text_to_be_present_in_element((By.ID, "log"), words)
        visit.until(heard, f'hearing "{words}" in the other tab')
    return "each tab heard the other"


def upload(visit):
    """hand in a file at the loading dock"""
    visit.open("/dock/")
    file = visit.scratch / "delivery.bin"
    file.write_bytes(bytes(3_000_000))
    visit.one("#id_file").send_keys(str(file))
    visit.one("#deliver button").click()
    visit.until(seen.visibility_of_element_located((By.ID, "receipt")), "getting the receipt")
    size, hashed = visit.one("#receipt-size").text, visit.one("#receipt-sha256").text
    expect(size == "3,000,000" and len(hashed) == 64, f"the receipt says {size} bytes, sha256 {hashed}")
    return f"{size} bytes, sha256 {hashed[:16]}…"


def no_complaints(visit):
    """no complaint in the browser's console"""
    entries = [
        entry["message"] for entry in visit.browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")
    ]
    expect(not entries, f"the console says {entries[0] if entries else ''}")
    return "nothing"


STEPS = (
    sign_in,
    add_print,
    see_image,
    find_print,
    fill_cart,
    place_order,
    upload,
    no_complaints,
    chat,
    no_complaints,
)


def picture(width, height):
    """A red viaduct before a light sky, as a PNG file."""
    sky, stone, meadow = b"\xcf\xdc\xc3", b"\xb4\x47\x2f", b"\x46\x66\x3f"
    span, radius, deck = 100, 36, height // 3

    def colour(x, y):
        if y > height * 0.8:
            return meadow
        across, down = abs(x % span - span // 2), deck + 24 + radius - y
        opening = across < radius and (down <= 0 or across**2 + down**2 < radius**2)
        return stone if y > deck and not opening else sky

    return png(width, height, (b"".join(colour(x, y) for x in range(width)) for y in range(height)))


def png(width, height, rows):
    """A PNG file of rows of RGB bytes."""

    def part(kind, data):
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    size = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", size) + part(b"IDAT", content) + part(b"IEND", b"")


if __name__ == "__main__":
    sys.exit(main())
