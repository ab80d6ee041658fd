"""Archives the classes that a Spark job loads, so that those of tests start with them.

    python -m tests.classes

Does nothing where the archive is newer than the environment.
"""

import os
import subprocess
from tempfile import TemporaryDirectory

from tests.jobs import CLASSES, PATH, REPOSITORY, SHORT, SUBMIT, spark_variables


def main() -> None:
    [installed] = CLASSES.parent.glob("setup-*")
    if CLASSES.exists() and CLASSES.stat().st_mtime > installed.stat().st_mtime:
        return
    CLASSES.unlink(missing_ok=True)
    variables = spark_variables(SHORT, f"-XX:ArchiveClassesAtExit={CLASSES}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
    with TemporaryDirectory() as root:
        settings = [f"root={root}", "track=false", "data.largest_domains=3"]
        job = ["pipelines/build_domains.py", "--config", "conf/ml_latest_small.yaml", *settings]
        command = [SUBMIT, "--master", "local[2]", *job]
        environment = {**os.environ, "PATH": PATH, **variables}
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
