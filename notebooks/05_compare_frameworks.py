# Databricks notebook source
# MAGIC %md
# MAGIC # 5. Compare frameworks
# MAGIC
# MAGIC Which framework serves your domains best is a question to your data. One command trains methods × models × seeds,
# MAGIC gives each the same number of candidate settings on validation rows, and reports test AUC by domain. What is done is
# MAGIC kept, so a run that was cut off goes on. Plans are in `conf/compare`; the paper's tables are among them.

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
# MAGIC The report, as Markdown; `report.html` beside it has the same with colours.

# COMMAND ----------

print(Path(load_plan(plan_path, settings).root, "report.md").read_text())
