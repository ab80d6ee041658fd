"""Settings that the small runs of several tests share."""

DOMAIN_SIZES = (300, 240, 60, 50, 40, 30, 30, 20, 15, 10, 8, 6)  # rows; the first two are head domains
DATA = {"columns": {"label": "label"}, "bucket_rows": 120, "head_rows": 100}
FRAMEWORK = {"inner_lr": 0.01, "dr_inner_lr": 0.01, "dr_rounds": 2, "helpers": 2, "helper_rows": 16}
