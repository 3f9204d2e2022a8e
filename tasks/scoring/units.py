"""Units that stand behind a number, in one spelling each: "km/h" and "kilometres per hour" are the same."""

from collections.abc import Sequence
from itertools import product

import regex

from tasks.scoring.folding import fold

# A unit, and the other spellings of it. Where case tells two units apart the spelling is exact.
_SPELLINGS = """
$: $ dollar dollars usd buck bucks | €: € euro euros eur | £: £ gbp quid pound pounds
yen: ¥ yen jpy | yuan: ¥ yuan cny rmb renminbi | ₹: ₹ rupee rupees inr rs | chf: chf franc francs
aud: aud | cad: cad | nzd: nzd | hkd: hkd | sgd: sgd | brl: brl | mxn: mxn | twd: twd | cent: cent cents ¢
won: ₩ won krw | rouble: ₽ rouble roubles ruble rubles rub | zar: zar rand
lira: ₺ lira try | shekel: ₪ shekels
%: % percent | ‰: ‰
mm: mm millimetre millimetres millimeter millimeters | cm: cm centimetre centimetres centimeter centimeters
m: m metre metres meter meters | km: km kms KM kilometre kilometres kilometer kilometers
nm: nm nanometre nanometres nanometer nanometers
μm: μm um micrometre micrometres micrometer micrometers micron microns
mi: mi mile miles | ft: ft foot feet | inch: in inch inches | yd: yd yds yard yards | ly: ly
nmi: nmi | league: league leagues | acre: acre acres | ha: ha hectare hectares
mg: mg milligram milligrams | g: g gram grams gramme grammes | kg: kg kgs KG kilo kilos kilogram kilograms
μg: μg mcg microgram micrograms | t: t tonne tonnes ton tons | ton: ton tons | lb: lb lbs LB LBS pound pounds
oz: oz ounce ounces | stone: stone stones | ct: ct carat carats
ml: ml mL millilitre millilitres milliliter milliliters | cl: cl centilitre centilitres
l: l L litre litres liter liters | gal: gal gallon gallons | pint: pint pints | barrel: barrel barrels bbl
V: V volt volts | kV: kV kilovolt kilovolts | mV: mV millivolts | W: W watt watts | kW: kW kilowatt kilowatts
MW: MW megawatt megawatts | mW: mW milliwatts | GW: GW gigawatt gigawatts | kWh: kWh kilowatt-hours
Hz: Hz hz hertz | kHz: kHz khz kilohertz | MHz: MHz mhz megahertz | GHz: GHz ghz gigahertz
J: J joule joules | kJ: kJ kilojoules | N: N newton newtons | Pa: Pa pascal pascals | kPa: kPa | hPa: hPa
A: amp amps ampere amperes | ohm: Ω ohm ohms | eV: eV | kcal: kcal kilocalories | cal: cal calorie calories
dB: dB decibels
KB: KB kB kb kilobyte kilobytes | MB: MB mb megabyte megabytes | GB: GB gb gigabyte gigabytes
TB: TB tb terabyte terabytes | bit: bit bits | byte: byte bytes
ms: ms millisecond milliseconds | second: s sec secs second seconds | minute: min mins minute minutes
hour: h hr hrs hour hours | day: day days | week: week weeks | month: month months
year: yr yrs year years | decade: decade decades | century: century centuries
mi/hour: mph MPH | km/hour: kmh kph kmph | knot: kn knot knots | rpm: rpm
°C: C celsius centigrade | °F: F fahrenheit | K: K kelvin kelvins
am: am AM | pm: pm PM | bc: BC BCE bc bce | ad: AD CE
"""
_TABLE: dict[str, frozenset[str]] = {}
for _entry in regex.split(r" \| |\n", _SPELLINGS.strip()):
    _unit, _, _names = _entry.partition(": ")
    for _name in _names.split():
        _TABLE[_name] = _TABLE.get(_name, frozenset()) | {_unit}

MONEY = frozenset("$ € £ yen yuan ₹ chf aud cad nzd hkd sgd brl mxn twd won rouble zar lira shekel".split())
_DEGREES = frozenset({"degree", "°C", "°F"})
# Signs and codes that stand before an amount.
CODES = "USD|EUR|GBP|JPY|INR|CNY|RMB|CHF|AUD|CAD|NZD|HKD|SGD|BRL|MXN|TWD|KRW|RUB|ZAR"
# Spellings that may touch the number before them: "5km". Other letters make a name of both ("5G", "3D").
TOUCHING = sorted(
    (
        {name for name in _TABLE if name.isalpha() and name.isascii() and 1 < len(name) < 5}
        | set("m g w v h t l L V W".split())
        | {"in", "AD", "CE", "KM", "LB", "μm", "bn", "st", "nd", "rd", "th", "г", "гг", "р", "م"}
    ),
    key=len,
    reverse=True,
)
_POWER = regex.compile(r"(\p{L}+)(?:\^([23])|([23]))")
_POWERS = {"square": "2", "sq": "2", "cubic": "3", "cu": "3", "squared": "2", "cubed": "3"}
NONE: frozenset[str] = frozenset()


def unit_of(word: str) -> frozenset[str]:
    """Return the units that a word or sign can mean; none if it is no unit."""
    known = _TABLE.get(word) or (_TABLE.get(fold(word)) if len(word) > 1 else None)
    if known is not None:
        return known
    raised = _POWER.fullmatch(word)
    if raised is not None and (
        raised[2] or raised[1] not in ("C", "F", "K", "h", "s", "V", "W", "A", "J", "N", "g", "t", "l", "L")
    ):
        return frozenset(f"{unit}^{raised[2] or raised[3]}" for unit in unit_of(raised[1]))
    return frozenset({word}) if regex.fullmatch(r"\p{Sc}", word) else NONE


def measure(following: Sequence[str]) -> tuple[frozenset[str], int]:
    """Read the unit that some words and signs begin with.

    Returns
    -------
    tuple
        The units that it can be (`pounds` is a weight and a currency), and how many words and signs it takes.
    """
    place = 1 if following[:1] == ["-"] else 0
    if fold(_at(following, place)) in ("°", "degree", "degrees"):
        scale = unit_of(_at(following, place + 1)) & _DEGREES
        return (scale, place + 2) if scale else (_DEGREES, place + 1)
    # "5 US dollars".
    place += _at(following, place) == "US" and unit_of(_at(following, place + 1)) == {"$"}
    found, place = _powered(following, place)
    if not found:
        return NONE, 0
    while not found & MONEY and (taken := _per(following, place, found)):
        below, after = _powered(following, place + taken)
        if not below:
            break
        found, place = frozenset(f"{one}/{other}" for one, other in product(found, below)), after
    return found, place


def _per(following: Sequence[str], place: int, found: frozenset[str]) -> int:
    word = _at(following, place)
    return int(word in ("/", "per") or (word in ("a", "an") and bool(found & {"mi", "km", "m", "ft"})))


def _powered(following: Sequence[str], place: int) -> tuple[frozenset[str], int]:
    """A unit with its power: "square metres", "m^2", "second squared"."""
    power = _POWERS.get(fold(_at(following, place)), "")
    place += bool(power) + (bool(power) and _at(following, place + 1) == ".")
    found = unit_of(_at(following, place))
    if not found:
        return NONE, place
    place += 1
    if not power and _at(following, place) in ("squared", "cubed"):
        power, place = _POWERS[_at(following, place)], place + 1
    return (frozenset(f"{unit}^{power}" for unit in found) if power else found), place


def _at(following: Sequence[str], place: int) -> str:
    return following[place] if place < len(following) else ""
