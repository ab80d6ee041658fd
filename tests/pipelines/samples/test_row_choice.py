"""Tests builds of some rows of the log."""

import pytest

from pipelines.samples.row_choice import choose_rows
from training.config import DataConfig

RAW = "user STRING, item STRING, domain STRING, _malformed STRING"


def chosen(raw, **settings):
    return choose_rows(raw, DataConfig(source="csv", path="log.csv", **settings), None).collect()


@pytest.fixture(scope="module")
def raw(spark):
    """Makes a log in which domain c has most lines, but a and b have most clean rows, three each."""
    rows = [("u1", f"i{n}", domain, None) for domain in "ab" for n in range(3)]
    rows += (
        [("u1", "i1", "c", None)] * 5 + [("u1", f"i{n}", "d", None) for n in range(2)] + [("u1", None, "d", None)] * 5
    )
    return spark.createDataFrame([*rows, (None, "i1", "d", None), ("u1", "i1", None, None)], RAW).cache()


def test_all_rows_stay_by_default(raw):
    assert len(chosen(raw)) == raw.count()


@pytest.mark.parametrize(("count", "domains"), [(1, {"a"}), (2, {"a", "b"}), (3, {"a", "b", "d"}), (9, set("abcd"))])
def test_largest_domains_have_most_clean_rows_and_ties_go_by_key(raw, count, domains):
    assert {row["domain"] for row in chosen(raw, largest_domains=count)} == domains | {None}


def test_largest_domains_are_chosen_among_the_given_domains(raw):
    rows = chosen(raw, domains=["b", "c", "d"], largest_domains=2)
    assert {row["domain"] for row in rows} == {"b", "d", None}


def test_share_of_users_keeps_all_their_rows_and_is_the_same_in_any_log(spark, raw):
    rows = [(f"u{user}", f"i{n}", "a", None) for user in range(3000) for n in range(2)]
    first = chosen(spark.createDataFrame([*rows, (None, "i", "a", None)], RAW), user_share=0.333)
    users = {row["user"] for row in first}
    assert len(users) == pytest.approx(1000, rel=0.1)
    assert len(first) == 2 * (len(users) - 1) + 1
    others = [(f"u{user}", "i", "b", None) for user in range(1000, 4000)]
    again = {row["user"] for row in chosen(spark.createDataFrame(others, RAW), user_share=0.333)}
    assert {f"u{n}" for n in range(1000, 3000)} & users == {f"u{n}" for n in range(1000, 3000)} & again
    larger = {row["user"] for row in chosen(spark.createDataFrame(others, RAW), user_share=0.5)}
    assert again < larger
