"""Archives the classes that a Spark job loads; jobs of tests start faster from the archive.

    python -m tests.support.class_archive

Does nothing if the archive is newer than the environment.
"""

import subprocess
from tempfile import TemporaryDirectory

from tests.support.jobs import REPOSITORY, SPARK_SUBMIT
from tests.support.spark_flags import CLASS_ARCHIVE, FIRST_COMPILER, environment_of_jobs


def main() -> None:
    """Runs one small build with a JVM that archives its classes when it exits."""
    [environment_stamp] = CLASS_ARCHIVE.parent.glob("setup-*")
    if CLASS_ARCHIVE.exists() and CLASS_ARCHIVE.stat().st_mtime > environment_stamp.stat().st_mtime:
        return
    CLASS_ARCHIVE.unlink(missing_ok=True)
    unfinished = CLASS_ARCHIVE.with_suffix(".unfinished")
    flags = (f"-XX:ArchiveClassesAtExit={unfinished}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
    with TemporaryDirectory() as root, environment_of_jobs(FIRST_COMPILER, *flags):
        settings = [f"root={root}", "track=false", "data.largest_domains=3"]
        job = ["pipelines/build_domains.py", "--config", "conf/ml_latest_small.yaml", *settings]
        command = [SPARK_SUBMIT, "--master", "local[2]", *job]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    unfinished.rename(CLASS_ARCHIVE)


if __name__ == "__main__":
    main()
