"""Checks of what comes from a disk, derived from the type that it is to have: the type of a field is its check.

Each check raises a `ValueError` that names the place, where it was told it, what was found and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

Check = Callable[[Any, str], None]
T = TypeVar("T")
# Beyond it a float no longer tells neighbouring steps apart.
_LAST_STEP = 2**53
_LARGEST = 1e300
# A correlation in floating point may miss 1 by rounding.
_R = 1 + 1e-6
# The field of a line in which stands what it does not know.
MORE = "more"
# In a field's metadata: see `later`.
_LATER = "later"


def _remembered(work: Callable[[Any], T]) -> Callable[[Any], T]:
    """Worked out once a type."""
    return cache(work)


# ---- from a type to its check and its making -----------------------------------------------------------------


@_remembered
def check_of(kind: Any) -> Check:
    """The check of a value of this type; that of `Annotated[..., check]` is the one that stands there.

    A dataclass is an object whose known fields are checked, and which has those that have no default.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        check: Check = inner[1]
        return check
    if origin in (Union, UnionType):
        (known,) = (one for one in inner if one is not NoneType)
        return maybe(check_of(known))
    if origin is list:
        return numbers if inner[0] == (float | None) else list_of(check_of(inner[0]))
    if origin is dict:
        return an_object if inner[1] is Any else map_of(check_of(inner[1]))
    if is_dataclass(kind):
        return _object_of(types_of(kind), needed_of(kind))
    return _PLAIN[kind]


@_remembered
def types_of(kind: Any) -> Mapping[str, Any]:
    """The fields of a dataclass of lines with their types, without the one for what it does not know."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind) if field.name != MORE}


@_remembered
def needed_of(kind: Any) -> tuple[str, ...]:
    """The fields that have no default."""
    known = types_of(kind)
    without = (one for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING)
    return tuple(one.name for one in without if one.name in known)


def later(default: T) -> T:
    """A field that came after the first records of its format: it may be absent, for its default."""
    added: T = field(default=default, metadata={_LATER: True})
    return added


@_remembered
def said_of(kind: Any) -> tuple[str, ...]:
    """The fields that every record of the newest format says."""
    added = {one.name for one in fields(kind) if one.metadata.get(_LATER)}
    return tuple(name for name in types_of(kind) if name not in added)


def made(kind: type[T], value: Mapping[str, Any]) -> T:
    """The dataclass of a checked JSON object; what it does not know is kept in `more`."""
    known = _makers(kind)
    given = {name: make(value[name]) if make else value[name] for name, make in known.items() if name in value}
    if len(given) < len(value):
        given[MORE] = {key: item for key, item in value.items() if key not in known}
    return kind(**given)


@_remembered
def _makers(kind: Any) -> Mapping[str, Callable[[Any], Any] | None]:
    return {name: _maker(of) for name, of in types_of(kind).items()}


def _maker(of: Any) -> Callable[[Any], Any] | None:
    """How a value of this type is made of JSON; None where it is JSON."""
    if is_dataclass(of):
        kind: Any = of
        return lambda value: made(kind, value)
    inner = [one for one in get_args(of) if one is not NoneType]
    make = _maker(inner[0]) if inner else None
    if make is None:
        return None
    if get_origin(of) is list:
        return partial(_each, make)
    if get_origin(of) in (Union, UnionType):
        return partial(_or_none, make)
    return make


def _each(make: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    return [make(value) for value in values]


def _or_none(make: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else make(value)


def json_of(value: Any) -> Any:
    """A dataclass of lines as the JSON object that it is made of, fields in their order; all else as it is."""
    if is_dataclass(value):
        known = {name: json_of(getattr(value, name)) for name in types_of(type(value))}
        return known | getattr(value, MORE)
    if isinstance(value, list) and value and is_dataclass(value[0]):
        return [json_of(item) for item in value]
    return value


# ---- checks of one value -------------------------------------------------------------------------------------


def fail(where: str, found: Any, expected: str) -> NoReturn:
    """Refuse a value in one sentence."""
    shown = repr(found) if not isinstance(found, int) or abs(found) < _LARGEST else "a number without bounds"
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    raise ValueError(f"{where}: found {shown}, expected {expected}")


def text(value: Any, where: str) -> None:
    """A text."""
    if not isinstance(value, str):
        fail(where, value, "a text")


def flag(value: Any, where: str) -> None:
    """A boolean."""
    if not isinstance(value, bool):
        fail(where, value, "true or false")


def number(value: Any, where: str, most: float = _LARGEST, expected: str = "a finite number") -> None:
    """A finite number."""
    # A bool is an int, and 1e999 is read as infinity.
    if type(value) not in (int, float) or not abs(value) <= most:
        fail(where, value, expected)


def correlation(value: Any, where: str) -> None:
    """A number from -1 to 1."""
    number(value, where, _R, "a number from -1 to 1, or null")


def divisor(value: Any, where: str) -> None:
    """A number above 0."""
    if type(value) not in (int, float) or not 0 < value <= _LARGEST:
        fail(where, value, "a number above 0")


def whole(least: int, most: int = _LAST_STEP) -> Check:
    """A whole number from `least` on."""

    def check(value: Any, where: str) -> None:
        if type(value) is not int or not least <= value <= most:
            fail(where, value, f"a whole number from {least} to 2**53")

    return check


def maybe(check: Check) -> Check:
    """The same, or null."""

    def checked(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return checked


def list_of(check: Check, least: int = 0) -> Check:
    """A list of `least` such values or more."""

    def checked(value: Any, where: str) -> None:
        if not isinstance(value, list):
            fail(where, value, "a list")
        if len(value) < least:
            fail(where, value, f"a list of {least} or more")
        for i, item in enumerate(value):
            check(item, where and f"{where}[{i}]")

    return checked


def map_of(check: Check) -> Check:
    """An object of such values."""

    def checked(value: Any, where: str) -> None:
        an_object(value, where)
        for key, item in value.items():
            check(item, where and f"{where}[{key!r:.60}]")

    return checked


def numbers(value: Any, where: str) -> None:
    """A list of numbers or nulls. A record holds millions of these, so all are looked at together first."""
    if isinstance(value, list) and set(map(type, value)) <= {float, int, NoneType}:
        known = [x for x in value if x is not None]
        if not known or -_LARGEST <= min(known) <= max(known) <= _LARGEST:
            return
    list_of(maybe(number))(value, where)


def an_object(value: Any, where: str) -> None:
    """A JSON object."""
    if not isinstance(value, dict):
        fail(where, value, "an object")


def have(value: Mapping[str, Any], needed: Sequence[str], where: str) -> None:
    """Refuse an object that lacks one of these fields."""
    for key in needed:
        if key not in value:
            raise ValueError(f"{_inside(where)}{key} is missing")


def _object_of(known: Mapping[str, Any], needed: Sequence[str]) -> Check:
    checks = {key: check_of(of) for key, of in known.items()}

    def checked(value: Any, where: str) -> None:
        an_object(value, where)
        have(value, needed, where)
        inside = _inside(where)
        for key, check in checks.items():
            if key in value:
                check(value[key], inside and f"{inside}{key}")

    return checked


def _inside(where: str) -> str:
    return where if not where or where.endswith(": ") else f"{where}."


_PLAIN: dict[Any, Check] = {str: text, bool: flag, float: number, int: whole(0)}
