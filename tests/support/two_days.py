"""The rows of a log that grows, as (domain, user, item, label, time)."""


def day_one():
    """A head domain with 50 rows, and five tail domains."""
    rows = [("head", f"u{n % 9}", f"i{n}", n % 2, n) for n in range(50)]
    return rows + [(f"tail {d}", f"u{n}", f"i{n + d}", n % 2, n) for d in range(5) for n in range(8)]


def day_two():
    """A row with another label, one that is there already, new rows, a new user and item, a new domain, a reject."""
    rows = [("tail 0", "u0", "i0", 1, 100), ("tail 0", "u1", "i1", 1, 101), ("tail 0", "u9", "i50", 0, 102)]
    rows += [("head", "new user", "new item", 1, 103), ("head", "u1", "new item", 0, 104)]
    rows += [("head", "u2", "new item", 1, 104)]
    return rows + [("new domain", "u3", f"i{n}", n % 2, 105) for n in range(6)] + [("head", "", "i1", 1, 106)]
