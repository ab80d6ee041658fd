"""The rates that a framework has where the config names none.

For theta^S the best of the candidates that conf/compare/table_x.yaml gives each framework, and for theta^i of those
that it gives what a domain adds: by the mean over its data sets of the mean-domain AUC on validation rows, with MLP.
docs/results/table_x/search.json has what was found; tests/training/config/test_rates.py holds this file to it.
"""

INNER = {  # of framework.shared: framework.inner_lr
    "joint": 0.002,
    "alternate": 0.002,
    "weighted": 0.002,
    "pcgrad": 0.0005,
    "maml": 0.002,
    "reptile": 0.004,
    "mldg": 0.001,
    "dn": 0.004,
}
OUTER = {"reptile": 0.3, "dn": 0.5}  # framework.outer_lr
SPECIFIC_INNER = 0.001  # framework.dr_inner_lr
OTHER_INNER, OTHER_OUTER = 0.002, 0.5  # of frameworks of the user's own


def inner_rate(shared: str) -> float:
    return INNER.get(shared, OTHER_INNER)


def outer_rate(shared: str) -> float:
    return OUTER.get(shared, OTHER_OUTER)
