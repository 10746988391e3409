"""The pool keeps a few connections warm instead of going round all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from config.postgresql.base import DatabaseWrapper, WarmPool

pytestmark = pytest.mark.postgres


@pytest.fixture
def pool(django_db_blocker: object, django_db_setup: None) -> Iterator[WarmPool]:
    told = {**connection.settings_dict, "CONN_MAX_AGE": 0}
    told["OPTIONS"] = {**told["OPTIONS"], "pool": {"min_size": 0, "max_size": 4, "timeout": 10}}
    wrapper = DatabaseWrapper(told, alias="warm")
    pool = wrapper.pool
    assert pool is not None
    pool.open()
    yield pool
    wrapper.close_pool()


def test_the_connection_used_last_is_used_next(pool: WarmPool) -> None:
    held = [pool.getconn() for _ in range(3)]
    for each in held:
        pool.putconn(each)
    for _ in range(3):
        again = pool.getconn()
        assert again is held[-1]
        pool.putconn(again)


def test_all_of_them_are_there_when_they_are_needed(pool: WarmPool) -> None:
    first = [pool.getconn() for _ in range(4)]
    for each in first:
        pool.putconn(each)
    again = [pool.getconn() for _ in range(4)]
    assert {id(each) for each in again} == {id(each) for each in first}
    for each in again:
        pool.putconn(each)


def test_without_options_there_is_none() -> None:
    told = {**connection.settings_dict, "OPTIONS": {}}
    assert DatabaseWrapper(told, alias="cold").pool is None
