# Databricks notebook source
# MAGIC %md
# MAGIC # 5. Compare frameworks
# MAGIC
# MAGIC Which framework is best depends on your data. One command trains methods × models × seeds, gives each method the same
# MAGIC number of candidate settings on validation rows, and reports test AUC by domain. Finished cells are kept, so an
# MAGIC interrupted run resumes. Plans are in `conf/compare`, among them those of the paper's tables.

# COMMAND ----------

import os
import subprocess
import sys
from pathlib import Path

from pipelines.engine.notebook import PLAN_SETTINGS, REPOSITORY, further_settings
from training.compare.plan import load_plan

os.chdir(REPOSITORY)
plan_path, settings = "conf/compare/quick.yaml", further_settings(PLAN_SETTINGS)

# COMMAND ----------

command = [sys.executable, "-m", "training.compare", "--config", plan_path, *settings]
subprocess.run(command, check=True)

# COMMAND ----------

# MAGIC %md
# MAGIC The report is Markdown; `report.html` beside it has the same content with colours.

# COMMAND ----------

print(Path(load_plan(plan_path, settings).root, "report.md").read_text())
