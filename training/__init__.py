"""The trainer: feed, models, frameworks, parameters, metrics. Imports no pyspark."""

import os

# Set before torch is imported: threads that wait by spinning take the cores from ranks and tasks beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
