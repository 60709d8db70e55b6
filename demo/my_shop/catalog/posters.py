"""Draws the posters that the shop sells, so that it needs no pictures from anywhere.

A poster is a landscape with a viaduct of one of a few kinds; a seed decides about hills, trees, clouds
and the train. The same poster always comes out the same. Called by `manage.py seed` only.
"""

import io
import math
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 800, 1000
SCALE = 2  # drawn larger, then scaled down: that smooths every edge
FRAME = 40
PICTURE = (FRAME, FRAME, WIDTH - FRAME, 816)
PAPER = "#f6efdf"
INK = "#22313a"

# fmt: off
# sky above, sky below, sun, far hills, middle hills, near ground, trees, bridge, bridge in shade
PALETTES = {
    "dawn": ("#f4c9a0", "#fbe9cf", "#f2845c", "#c9a5a0", "#8d8090", "#4d5568", "#39435a", "#b4583f", "#7f3a30"),
    "noon": ("#6fb1c7", "#d8ecea", "#fdf6dc", "#9cc3b4", "#6f9f86", "#3f6e58", "#2c5446", "#d9c7a3", "#a08c6c"),
    "dusk": ("#2f3e63", "#e58b65", "#fbd08a", "#7b5a78", "#523f66", "#2b2a4a", "#1f2040", "#d98f5c", "#8c4a48"),
    "moss": ("#cfdcc3", "#f2f1dc", "#f6d77f", "#a9bf98", "#7b9a6e", "#46663f", "#32502f", "#8f9a96", "#616d6c"),
    "frost": ("#a9c4da", "#eef4f6", "#fff8e6", "#c5d5e2", "#96aec4", "#dde8ee", "#3e5a6e", "#a5553f", "#733628"),
    "night": ("#10233f", "#2f5875", "#f3ecc9", "#24465f", "#1a354d", "#0e2236", "#0a1a2b", "#5f7f92", "#3c586b"),
}
# fmt: on


@dataclass(frozen=True)
class Poster:
    title: str
    caption: str
    kind: str  # arches, tiers, trestle, bow, stayed
    palette: str
    spans: int
    seed: int
    train: bool = True


def draw(poster: Poster) -> bytes:
    """The poster as a JPEG file."""
    sheet = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
    left, top, right, bottom = (edge * SCALE for edge in PICTURE)
    scene = Scene(poster, right - left, bottom - top)
    sheet.paste(scene.paint(), (left, top))
    letter(sheet, poster)
    sheet = sheet.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=86, optimize=True, progressive=True)
    return file.getvalue()


def letter(sheet, poster):
    """Title and caption under the picture, as large as they fit; Pillow's own font has hardly more than ASCII."""
    pen = ImageDraw.Draw(sheet)
    room = (PICTURE[2] - PICTURE[0]) * SCALE
    size = 66 * SCALE
    while spaced_width(pen, poster.title.upper(), font(size), size * 0.12) > room:
        size -= SCALE
    middle = WIDTH * SCALE / 2
    spaced_text(pen, middle, 856 * SCALE, poster.title.upper(), font(size), size * 0.12)
    small = 23 * SCALE
    spaced_text(pen, middle, 938 * SCALE, poster.caption.upper(), font(small), small * 0.2)


def font(size):
    return ImageFont.load_default(size=size)


def spaced_width(pen, text, face, gap):
    return sum(pen.textlength(letter, face) for letter in text) + gap * (len(text) - 1)


def spaced_text(pen, middle, top, text, face, gap):
    x = middle - spaced_width(pen, text, face, gap) / 2
    for character in text:
        pen.text((x, top), character, fill=INK, font=face)
        x += pen.textlength(character, face) + gap


class Scene:
    """One landscape in progress: painted from the back to the front."""

    def __init__(self, poster, width, height):
        self.random = Random(poster.seed)
        self.kind, self.spans = poster.kind, poster.spans
        self.train = poster.train and poster.kind != "stayed"  # those carry roads
        self.w, self.h = width, height
        (self.sky_top, self.sky_low, self.sun, self.far, self.mid, self.near, self.tree, self.bridge, self.shade) = (
            PALETTES[poster.palette]
        )
        self.starry = poster.palette == "night"
        self.deck = height * self.random.uniform(0.36, 0.42)
        self.deck_height = height * 0.022

    def paint(self):
        self.image = self.gradient(self.sky_top, self.sky_low)
        self.pen = ImageDraw.Draw(self.image)
        self.paint_sky()
        self.paint_hills(self.far, 0.50, 0.10)
        self.paint_hills(self.mid, 0.63, 0.09)
        if self.train:
            self.paint_train()
        getattr(self, f"paint_{self.kind}")()
        self.paint_ground()
        return self.image

    def gradient(self, above, below):
        ramp = Image.linear_gradient("L").resize((self.w, self.h))
        return Image.composite(Image.new("RGB", ramp.size, below), Image.new("RGB", ramp.size, above), ramp)

    def paint_sky(self):
        if self.starry:
            for _ in range(90):
                x, y = self.random.uniform(0, self.w), self.random.uniform(0, self.h * 0.45)
                r = self.random.choice((1.5, 2, 3))
                self.pen.ellipse((x - r, y - r, x + r, y + r), fill=self.sun)
        x, y = self.w * self.random.uniform(0.2, 0.8), self.h * self.random.uniform(0.14, 0.24)
        r = self.w * self.random.uniform(0.07, 0.11)
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=self.sun)
        for _ in range(0 if self.starry else 4):
            self.paint_cloud()

    def paint_cloud(self):
        x, y = self.random.uniform(-0.1, 0.9) * self.w, self.random.uniform(0.05, 0.3) * self.h
        thick = self.h * 0.014
        for _ in range(3):
            long = self.w * self.random.uniform(0.12, 0.28)
            start = x + self.random.uniform(-0.06, 0.06) * self.w
            self.pen.rounded_rectangle((start, y, start + long, y + thick), thick / 2, fill=self.sky_low)
            y += thick * 0.9

    def ridge(self, level, height):
        """A line of hills from left to right, as a function of x."""
        waves = [
            (self.random.uniform(0.6, 1) / n, self.random.uniform(0.6, 1.2) * n, self.random.uniform(0, 7))
            for n in (1, 2, 4, 7)
        ]

        def y(x):
            t = x / self.w * math.tau
            swing = sum(size * math.sin(speed * t + shift) for size, speed, shift in waves)
            return self.h * (level + height * swing / 2)

        return y

    def fill_below(self, y, colour):
        step = self.w // 160
        line = [(x, y(x)) for x in range(0, self.w + step, step)]
        self.pen.polygon([(0, self.h), *line, (self.w, self.h)], fill=colour)

    def paint_hills(self, colour, level, height):
        self.fill_below(self.ridge(level, height), colour)

    def paint_train(self):
        """A train on the deck, its smoke drifting behind; the deck hides its wheels."""
        car, tall, gap = self.w * 0.085, self.h * 0.03, self.w * 0.008
        front = self.w * self.random.uniform(0.45, 0.85)
        steam = self.kind in ("arches", "tiers", "trestle")
        for number in range(self.random.randint(3, 5)):
            right = front - number * (car + gap)
            box = (right - car, self.deck - tall, right, self.deck)
            self.pen.rounded_rectangle(box, tall * 0.2, fill=self.tree if number else self.shade)
            if number:
                for window in range(4):
                    x = right - car + car * (0.12 + 0.22 * window)
                    self.pen.rectangle(
                        (x, self.deck - tall * 0.75, x + car * 0.12, self.deck - tall * 0.45), fill=self.sun
                    )
        if steam:
            chimney = front - car * 0.2
            self.pen.rectangle((chimney - 8, self.deck - tall * 1.5, chimney + 8, self.deck - tall), fill=self.shade)
            for puff in range(9):
                r = self.w * (0.009 + 0.0035 * puff)
                x, y = chimney - puff * self.w * 0.034, self.deck - tall * 1.9 - puff * self.h * 0.006
                self.pen.ellipse((x - r * 1.4, y - r, x + r * 1.4, y + r), fill=self.sky_low)

    def paint_deck(self, colour=None):
        self.pen.rectangle((0, self.deck, self.w, self.deck + self.deck_height), fill=colour or self.bridge)
        rail = self.h * 0.004
        self.pen.rectangle((0, self.deck - rail, self.w, self.deck), fill=self.shade)

    def wall_with_openings(self, colour, top, bottom, inset):
        """A wall across the picture with arched openings; `inset` makes them narrower on one side."""
        mask = Image.new("L", (self.w, self.h), 0)
        pen = ImageDraw.Draw(mask)
        pen.rectangle((0, top, self.w, bottom), fill=255)
        span = self.w / (self.spans - 0.4)
        pier = span * 0.24
        for number in range(-1, self.spans + 1):
            left = (number - 0.2) * span + pier / 2
            right = left + span - pier - inset
            radius = (right - left) / 2
            crown = top + self.deck_height * 1.4
            pen.ellipse((left, crown, right, crown + radius * 2), fill=0)
            pen.rectangle((left, crown + radius, right, max(bottom, crown + radius)), fill=0)
        self.image.paste(Image.new("RGB", mask.size, colour), mask=mask)

    def paint_arches(self):
        depth = self.w / self.spans * 0.11
        self.wall_with_openings(self.shade, self.deck, self.h * 0.95, depth)
        self.wall_with_openings(self.bridge, self.deck, self.h * 0.95, 0)
        self.paint_deck()

    def paint_tiers(self):
        storeys = 3
        tall = self.h * 0.14
        for storey in range(storeys):
            top = self.deck + storey * tall
            bottom = self.h * 0.95 if storey == storeys - 1 else top + tall
            self.wall_with_openings(self.shade, top, bottom, self.w / self.spans * 0.11)
            self.wall_with_openings(self.bridge, top, bottom, 0)
            self.pen.rectangle((0, top, self.w, top + self.deck_height * 0.7), fill=self.bridge)
        self.paint_deck()

    def paint_trestle(self):
        """A girder on towers that widen to their feet, braced crosswise."""
        girder = self.h * 0.045
        for number in range(self.spans):
            middle = self.w * (number + 0.5) / self.spans
            self.paint_tower(middle, self.deck + girder, self.h * 0.95)
        self.pen.rectangle((0, self.deck + girder, self.w, self.deck + girder + 10), fill=self.bridge)
        step = self.w / 36
        for panel in range(36):
            x = panel * step
            self.pen.line((x, self.deck + girder, x + step / 2, self.deck), fill=self.bridge, width=7)
            self.pen.line((x + step / 2, self.deck, x + step, self.deck + girder), fill=self.bridge, width=7)
        self.paint_deck()

    def paint_tower(self, middle, top, bottom):
        narrow, spread = self.w * 0.018, 0.075

        def half(y):
            return narrow + (y - top) * spread

        storeys = 7
        levels = [top + (bottom - top) * n / storeys for n in range(storeys + 1)]
        for above, below in pairwise(levels):
            a, b = half(above), half(below)
            self.pen.line((middle - a, above, middle + b, below), fill=self.shade, width=6)
            self.pen.line((middle + a, above, middle - b, below), fill=self.shade, width=6)
            self.pen.line((middle - b, below, middle + b, below), fill=self.shade, width=7)
        for side in (-1, 1):
            self.pen.line(
                (middle + side * half(top), top, middle + side * half(bottom), bottom),
                fill=self.bridge,
                width=13,
            )

    def paint_bow(self):
        """One great arch that carries the deck on thin columns."""
        left, right, crown, foot = self.w * 0.1, self.w * 0.9, self.deck + self.h * 0.05, self.h * 0.8

        def bow(x, lift=0.0):
            t = (x - left) / (right - left) * 2 - 1
            return crown + (foot - crown) * t * t + lift

        for number in range(-1, 17):
            x = left + (right - left) * number / 15
            end = bow(x) if left <= x <= right else self.h * 0.9
            self.pen.rectangle((x - 6, self.deck, x + 6, end), fill=self.shade)
        steps = [left + (right - left) * n / 80 for n in range(81)]
        upper = [(x, bow(x)) for x in steps]
        lower = [(x, bow(x, self.h * 0.045)) for x in steps]
        self.pen.line(lower, fill=self.bridge, width=14, joint="curve")
        for (x, y), (x2, y2) in zip(upper[:-2:2], lower[2::2], strict=True):
            self.pen.line((x, y, x2, y2), fill=self.bridge, width=6)
            self.pen.line((x, y2, x2, y), fill=self.shade, width=5)
        self.pen.line(upper, fill=self.bridge, width=18, joint="curve")
        self.paint_deck()

    def paint_stayed(self):
        """Slender piers with masts; cables fan out to a flat deck."""
        span = self.w / self.spans
        for number in range(self.spans):
            middle = span * (number + 0.5)
            mast = self.deck - self.h * 0.17
            for cable in range(1, 10):
                reach, high = span * 0.048 * cable, mast + self.h * 0.011 * (9 - cable)
                for side in (-1, 1):
                    self.pen.line((middle, high, middle + side * reach, self.deck), fill=self.bridge, width=4)
            foot = self.h * 0.95
            self.pen.polygon(
                [
                    (middle - 7, mast),
                    (middle + 7, mast),
                    (middle + 15, self.deck),
                    (middle + 26, foot),
                    (middle - 26, foot),
                    (middle - 15, self.deck),
                ],
                fill=self.bridge,
            )
            self.pen.polygon(
                [(middle + 3, self.deck), (middle + 15, self.deck), (middle + 26, foot), (middle + 5, foot)],
                fill=self.shade,
            )
        self.paint_deck()

    def paint_ground(self):
        """The valley floor: it rises to both sides, with a river in the middle and trees on the slopes."""
        bed = self.w * self.random.uniform(0.4, 0.6)
        wobble = self.ridge(0, 0.02)

        def y(x):
            away = abs(x - bed) / self.w
            return self.h * (0.86 - 0.55 * away**1.7) + wobble(x)

        self.fill_below(y, self.near)
        self.paint_river(bed)
        places = sorted(self.random.uniform(0, 1) for _ in range(46))
        for place in sorted(places, key=lambda p: y(p * self.w)):
            x = place * self.w
            if abs(x - bed) > self.w * 0.11:
                self.paint_tree(x, y(x) + self.random.uniform(0.005, 0.09) * self.h)

    def paint_river(self, bed):
        """It comes out of the valley narrow and leaves the picture wide, in two bends."""
        lean = self.random.choice((-1, 1)) * self.w * 0.1
        source = self.h * 0.868
        left, right = [], []
        for step in range(41):
            t = step / 40
            y = source + (self.h - source) * t
            middle = bed + lean * math.sin(t * 4.6) * (0.25 + t)
            half = self.w * (0.004 + 0.085 * t * t)
            left.append((middle - half, y))
            right.append((middle + half, y))
        self.pen.polygon(left + right[::-1], fill=self.sky_low)

    def paint_tree(self, x, foot):
        tall = self.h * self.random.uniform(0.035, 0.065)
        half = tall * 0.27
        for part in range(3):
            top = foot - tall * (1 - part * 0.24)
            spread = half * (0.6 + 0.28 * part)
            self.pen.polygon(
                [(x, top), (x - spread, top + tall * 0.46), (x + spread, top + tall * 0.46)], fill=self.tree
            )
