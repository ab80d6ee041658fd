"""Names of columns that several steps share."""

IDS = ("user_id", "item_id", "domain_id")
LABEL = "label"
LENGTH = "{}_length"  # the column with the number of values in a list
ROW_ORDER = ("domain_id", "user_id", "item_id", "label")  # what rows are sorted by
RESERVED = {  # names that a step of the build uses, so that no feature may have them
    *("user_id", "item_id", "domain_id", "user", "item", "domain", "label", "time", "event", "bucket", "split"),
    *("row", "column", "reason", "copies", "key", "id", "ctr_ratio"),
}
