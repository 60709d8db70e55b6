"""What `manage.py seed` puts on sale."""

from decimal import Decimal
from typing import NamedTuple

from catalog.posters import Poster

COLLECTIONS = {
    "stone": ("Stone & brick", "Arch after arch, laid by hand: the viaducts of the first railway century."),
    "steel": ("Iron & steel", "Lattice, rivets and nerve: great arches and tall trestles."),
    "concrete": ("Concrete", "From poured arches of the 1900s to the cables of today."),
}
FEATURED = "Landwasser"


class Print(NamedTuple):
    collection: str
    name: str
    place: str
    year: int | None
    price: Decimal
    stock: int
    summary: str
    kind: str
    palette: str
    spans: int
    title: str = ""

    @property
    def poster(self):
        region = self.place.split(",")[-1].strip()
        caption = f"{region} · {self.year}" if self.year else region
        seed = sum(self.name.encode()) + self.spans
        return Poster(
            self.title or self.name,
            caption,
            self.kind,
            self.palette,
            self.spans,
            seed,
            train=self.year is not None,  # the one without a year is an aqueduct
        )

    @property
    def description(self):
        return f"{self.summary} {PAPER}"


PAPER = (
    "Printed in twelve pigment inks on heavy cotton paper, 40 × 50 cm with a cream border, made for "
    "a standard frame. Each sheet is checked, numbered and shipped flat between two boards."
)


def _print(collection, name, place, year, price, stock, summary, kind, palette, spans, title=""):
    return Print(collection, name, place, year, Decimal(price), stock, summary, kind, palette, spans, title)


# fmt: off
PRINTS = [
    _print("stone", "Pont du Gard", "Gard, Provence", None, "44.00", 25,
           "Three tiers of Roman arches that once carried water to Nîmes.", "tiers", "noon", 6),
    _print("stone", "Ouse Valley", "Balcombe, Sussex", 1841, "32.00", 40,
           "Thirty-seven slender brick arches, each pier pierced by an arch of its own.", "arches", "moss", 12),
    _print("stone", "Royal Border Bridge", "Berwick, Northumberland", 1850, "34.00", 18,
           "Twenty-eight arches step across the Tweed; Queen Victoria came to open it.", "arches", "noon", 10),
    _print("stone", "Digswell", "Welwyn, Hertfordshire", 1850, "29.50", 33,
           "Forty arches of brick over the small river Mimram, still busy day and night.", "arches", "dusk", 11),
    _print("stone", "Göltzsch Valley", "Netzschkau, Saxony", 1851, "48.00", 12,
           "The largest brick bridge in the world: ninety-eight arches, twenty-six million bricks.",
           "tiers", "dawn", 8, "Goeltzschtal"),
    _print("stone", "Kalte Rinne", "Semmering, Austria", 1854, "46.00", 15,
           "Two storeys of arches in a tight bend, on the first mountain railway of Europe.", "tiers", "frost", 7),
    _print("stone", "Chaumont", "Haute-Marne, France", 1857, "39.00", 20,
           "Fifty arches in three tiers, built in little more than a year.", "tiers", "moss", 9),
    _print("stone", "Knucklas", "Powys, Wales", 1865, "31.00", 27,
           "Thirteen arches between round towers with battlements, as if guarding the valley.",
           "arches", "dawn", 7),
    _print("stone", "Ribblehead", "North Yorkshire, England", 1875, "42.00", 35,
           "Twenty-four arches across the moor, with the whole sky of the Dales above.", "arches", "night", 10),
    _print("stone", "Larpool", "Whitby, Yorkshire", 1885, "33.00", 22,
           "Thirteen tall arches of red brick high over the river Esk.", "arches", "frost", 8),
    _print("stone", "Landwasser", "Filisur, Switzerland", 1902, "52.00", 30,
           "Six limestone arches in a curve that ends in a tunnel through a sheer cliff.", "arches", "frost", 6),
    _print("stone", "Brusio", "Poschiavo, Switzerland", 1908, "49.00", 16,
           "Nine arches lead the line once around and under itself: a spiral in the open air.",
           "arches", "noon", 8),
    _print("stone", "Ravenna", "Black Forest, Germany", 1927, "36.00", 19,
           "Nine arches over the Ravenna gorge, between spruce and waterfall.", "arches", "moss", 6),
    _print("steel", "Meldon", "Dartmoor, Devon", 1874, "35.00", 14,
           "Iron towers on stone feet at the edge of the moor.", "trestle", "moss", 5),
    _print("steel", "Maria Pia", "Porto, Portugal", 1877, "45.00", 21,
           "One wrought-iron arch over the Douro, from the workshop of Gustave Eiffel.", "bow", "dusk", 1),
    _print("steel", "Garabit", "Cantal, France", 1885, "47.00", 26,
           "Eiffel's great crescent over the Truyère, painted the red of rust and roses.", "bow", "dawn", 1),
    _print("steel", "Müngsten", "Solingen, Germany", 1897, "38.00", 17,
           "A steel arch 107 metres above the Wupper, riveted close to a million times.",
           "bow", "frost", 1, "Muengsten"),
    _print("steel", "Goteik", "Shan State, Myanmar", 1900, "41.00", 9,
           "A silver trestle through jungle mist; trains cross it at walking pace.", "trestle", "noon", 6),
    _print("steel", "Viaur", "Aveyron, France", 1902, "40.00", 13,
           "Two halves of steel lean on each other over a green gorge.", "bow", "moss", 1),
    _print("steel", "Lethbridge", "Lethbridge, Alberta", 1909, "43.00", 24,
           "More than a mile of steel towers across the Oldman River valley.", "trestle", "dusk", 5),
    _print("steel", "Bietschtal", "Raron, Valais", 1913, "37.00", 0,
           "A steel arch thrown across a ravine of the Lötschberg southern ramp.", "bow", "noon", 1),
    _print("concrete", "Glenfinnan", "Lochaber, Scotland", 1901, "54.00", 48,
           "Twenty-one arches of plain concrete in a wide curve above Loch Shiel.", "arches", "moss", 9),
    _print("concrete", "Wiesen", "Davos, Switzerland", 1909, "45.00", 11,
           "One wide arch of concrete blocks, 88 metres above the Landwasser.", "arches", "dawn", 5),
    _print("concrete", "Tunkhannock", "Nicholson, Pennsylvania", 1915, "39.50", 23,
           "Concrete arches on the scale of a cathedral, for one small creek.", "arches", "dusk", 6),
    _print("concrete", "Ganter", "Simplon, Switzerland", 1980, "42.50", 10,
           "An S in the air: the cables are hidden in thin walls of concrete.", "stayed", "noon", 2),
    _print("concrete", "Sunniberg", "Klosters, Switzerland", 1998, "44.50", 20,
           "Low masts, a thin curved deck, and hardly anything else.", "stayed", "frost", 4),
    _print("concrete", "Millau", "Aveyron, France", 2004, "58.00", 31,
           "Seven masts above the morning fog of the Tarn, taller than the Eiffel Tower.", "stayed", "dawn", 3),
]
# fmt: on
