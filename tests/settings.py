"""Settings that small runs share."""

FRAMEWORK = {"inner_lr": 0.01, "dr_inner_lr": 0.01, "dr_rounds": 2, "helpers": 2, "helper_rows": 16}
