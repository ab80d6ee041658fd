"""Trains, stores and serves multi-domain recommenders. Nothing in this package imports Spark.

Importing the package sets OMP_WAIT_POLICY. OpenMP reads the variable when torch is loaded. Its threads would otherwise
wait for work by spinning, and take the cores from ranks and Spark tasks on the same machine. The entry points cannot
set it: Spark's Python workers import these modules without running any of them.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
