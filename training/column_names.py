"""Names the columns that several steps share, and the orders in which they stand."""

LABEL = "label"
KEYS = ("user", "item", "domain")  # of the log, as its author wrote them; in the order in which faults are reported
IDS = ("user_id", "item_id", "domain_id")  # of the samples, parallel to KEYS
KEY_ORDER = ("domain", "user", "item")  # what identifies a row of the log, apart from events
ID_ORDER = ("domain_id", "user_id", "item_id")  # what identifies a sample, parallel to KEY_ORDER
ROW_ORDER = (*ID_ORDER, LABEL)  # what rows are sorted by
LENGTH = "{}_length"  # the column with the number of values in a list
RESERVED = {  # names of columns that a step of the build adds, so no feature may have them
    *(*KEYS, *IDS, LABEL, "time", "event", "bucket", "split"),
    *("row", "column", "reason", "copies", "key", "id", "ctr_ratio"),
}
