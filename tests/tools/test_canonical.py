"""JSON comes in clean, has one byte form, and what cannot be kept is refused with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import chain

import pydantic
import pytest
import rfc8785
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.canonical import MAX_BYTES, MAX_INT, NotJson, canonical, digest, new_id, normalise, parse

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INT, MAX_INT)
    | st.floats(-MAX_INT, MAX_INT)
    | st.text(st.characters(exclude_categories=[]))
)
wild_leaves = leaves | st.integers() | st.floats() | st.binary() | st.decimals() | st.dates() | st.uuids()
keys = st.text(st.characters(exclude_categories=[]), max_size=8)


def trees(of: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(of, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain(value, *map(texts, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(texts, value))


class Colour(StrEnum):
    RED = "red"


class Parcel(pydantic.BaseModel):
    weight: Decimal
    sent: date


@dataclass
class Box:
    colour: Colour
    sides: tuple[int, int]


class TestNormalise:
    @given(trees(wild_leaves))
    def test_it_gives_json_or_its_own_error_and_twice_is_once(self, value: object) -> None:
        try:
            once = normalise(value)
        except NotJson:
            return
        assert normalise(once) == once
        assert json.loads(json.dumps(once, allow_nan=False)) == once
        for text in texts(once):
            assert "\x00" not in text.encode().decode()  # and no lone surrogate, which cannot be encoded

    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            ((1, 2.5, "a"), [1, 2.5, "a"]),
            ("a\x00b\ud800c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
            (Decimal("12.50"), "12.50"),
            (Colour.RED, "red"),
            (
                Parcel(weight=Decimal("1.20"), sent=date(2026, 11, 1)),
                {"weight": "1.20", "sent": "2026-11-01"},
            ),
            (Box(Colour.RED, (1, 2)), {"colour": "red", "sides": [1, 2]}),
            (MAX_INT, MAX_INT),
        ],
    )
    def test_what_pydantic_can_write_is_written(self, value: object, plain: object) -> None:
        assert normalise(value) == plain
        assert type(normalise(value)) is type(plain)

    def test_negative_zero_is_zero(self) -> None:
        assert str(normalise(-0.0)) == "0.0"

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (float("nan"), "nan"),
            ({"a": [float("inf")]}, r"\$\.a\[0\]"),
            (MAX_INT + 1, "carry it as text"),
            (1e300, "carry it as text"),
            ({1: "a"}, "key 1 is not text"),
            ({"a\x00": 1, "a\ud800": 2}, "twice"),
            ({1, 2}, "no order"),
            (b"a", "binary"),
            ((i for i in range(3)), "read only once"),
            (object(), "no form in JSON"),
            ("x" * MAX_BYTES, "artifact"),
        ],
    )
    def test_it_refuses(self, value: object, words: str) -> None:
        with pytest.raises(NotJson, match=words):
            normalise(value)

    def test_sixty_four_levels_and_no_more(self) -> None:
        def nested(levels: int) -> list[object]:
            value: list[object] = []
            for _ in range(levels - 1):
                value = [value]
            return value

        normalise(nested(64))
        with pytest.raises(NotJson, match="64 levels"):
            normalise(nested(65))


class TestParse:
    def test_it_works(self) -> None:
        assert parse('{"a": [1, 2.5, null, true]}') == {"a": [1, 2.5, None, True]}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"a": 1, "a": 2}', "twice"),
            ("[NaN]", "NaN"),
            ("[1e999]", "inf"),
            ("[" * 100_000, "levels"),
            ("9" * 5000, "not JSON"),
            ("{", "not JSON"),
            (b"\xff", "UTF-8"),
        ],
    )
    def test_it_refuses(self, text: str | bytes, words: str) -> None:
        with pytest.raises(NotJson, match=words):
            parse(text)


class TestCanonical:
    @given(trees(leaves))
    def test_it_is_rfc_8785_and_reads_back(self, value: object) -> None:
        plain = normalise(value)
        written = canonical(plain)
        assert written == rfc8785.dumps(plain)
        assert json.loads(written) == plain

    @given(st.dictionaries(keys, st.integers(-MAX_INT, MAX_INT), min_size=1))
    def test_the_order_of_keys_does_not_matter_and_every_leaf_does(self, value: dict[str, int]) -> None:
        try:
            plain = normalise(value)
        except NotJson:
            return
        assert digest(dict(reversed(plain.items()))) == digest(plain)
        key = next(iter(plain))
        assert digest({**plain, key: "other"}) != digest(plain)

    @pytest.mark.parametrize("value", [{1: 2}, 2**60, float("nan"), "\ud800", object()])
    def test_it_refuses_what_was_not_normalised(self, value: object) -> None:
        with pytest.raises(NotJson):
            canonical(value)


class TestDatabase:
    @pytest.mark.django_db
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(trees(leaves))
    def test_what_comes_back_has_the_same_digest(self, value: object) -> None:
        try:
            plain = normalise(value)
        except NotJson:
            return
        cast = "SELECT CAST(%s AS jsonb)" if connection.vendor == "postgresql" else "SELECT json(%s)"
        with connection.cursor() as cursor:
            cursor.execute(cast, [json.dumps(plain)])
            kept = cursor.fetchone()[0]
        assert digest(json.loads(kept)) == digest(plain)


class TestNewId:
    def test_ids_are_short_and_sort_by_time(self) -> None:
        ids = [new_id("run") for _ in range(200)]
        assert all(re.fullmatch("run_[0-9a-v]{26}", made) for made in ids)
        assert len(set(ids)) == 200
        assert ids[0] < ids[-1]
