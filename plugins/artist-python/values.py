"""JSON, and which of it the Rust plugins can read.

Python's reader takes what the SDK's refuses: the same member twice, half of a surrogate pair, NaN,
numbers of any size. An entry is `unreadable` if that is in a place that is read, and only then, so it
has to be told apart here too.
"""

import json
import math
import re
from collections import Counter

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Odd(dict):
    """An object that has members twice, or names that are no Unicode."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.twice = {name for name, times in Counter(name for name, _ in pairs).items() if times > 1}
        self.nameless = any(LONE_SURROGATE.search(name) for name in self)


def load(page):
    """The value of a JSON text. A ValueError if it is none."""
    return DECODER.decode(page)


def is_object(value, names):
    """Whether it is an object in which these members can be looked for: each of them comes once at most."""
    return type(value) is dict or isinstance(value, Odd) and not value.nameless and not value.twice & names


def is_text(value):
    return type(value) is str and (value.isascii() or not LONE_SURROGATE.search(value))


def is_flag(value):
    return type(value) is bool


def is_integer(value):
    """Whether it is a whole number of 64 bits, however JSON spells it: 210000, 210000.0, 2.1e5."""
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return type(value) is float and value.is_integer() and abs(value) < 9e15


def is_finite(value):
    return type(value) is not float or math.isfinite(value)


def equals(value, word):
    """Whether a value is this word, in letters of any case. Those of ASCII: a Kelvin sign is no k."""
    return type(value) is str and value.isascii() and value.lower() == word


def object_of(pairs):
    members = dict(pairs)
    is_plain = len(members) == len(pairs) and "".join(members).isascii()
    return members if is_plain else Odd(pairs)


def integer_of(digits):
    # More digits than 64 bits have are no integer for the Rust plugins, and slow to read as one.
    return int(digits) if len(digits) <= 20 else float(digits)


def no_constant(word):
    raise ValueError(f"{word} is not JSON")


DECODER = json.JSONDecoder(object_pairs_hook=object_of, parse_int=integer_of, parse_constant=no_constant)
