"""Makes the rows of a log that grows from one day to the next, as (domain, user, item, label, time)."""


def day_one():
    """Returns a head domain of 50 rows and five tail domains of 8."""
    rows = [("head", f"u{n % 9}", f"i{n}", n % 2, n) for n in range(50)]
    return rows + [(f"tail {d}", f"u{n}", f"i{n + d}", n % 2, n) for d in range(5) for n in range(8)]


def day_two():
    """Returns one row of each kind that an incremental build must handle, and a new domain of 6 rows."""
    changed_label, repeated = ("tail 0", "u0", "i0", 1, 100), ("tail 0", "u1", "i1", 1, 101)
    new_ids = [("tail 0", "u9", "i50", 0, 102), ("head", "new user", "new item", 1, 103)]
    new_pairs = [("head", "u1", "new item", 0, 104), ("head", "u2", "new item", 1, 104)]
    new_domain = [("new domain", "u3", f"i{n}", n % 2, 105) for n in range(6)]
    rejected = ("head", "", "i1", 1, 106)
    return [changed_label, repeated, *new_ids, *new_pairs, *new_domain, rejected]
