"""Archives the classes that a Spark job loads, so that those of tests start with them.

    python -m tests.support.classes

Does nothing where the archive is newer than the environment.
"""

import subprocess
from tempfile import TemporaryDirectory

from tests.support.jobs import CLASSES, REPOSITORY, SHORT, SUBMIT, environment_of_jobs


def main() -> None:
    [installed] = CLASSES.parent.glob("setup-*")
    if CLASSES.exists() and CLASSES.stat().st_mtime > installed.stat().st_mtime:
        return
    CLASSES.unlink(missing_ok=True)
    unfinished = CLASSES.with_suffix(".unfinished")
    options = (f"-XX:ArchiveClassesAtExit={unfinished}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
    with TemporaryDirectory() as root, environment_of_jobs(SHORT, *options):
        settings = [f"root={root}", "track=false", "data.largest_domains=3"]
        job = ["pipelines/build_domains.py", "--config", "conf/ml_latest_small.yaml", *settings]
        command = [SUBMIT, "--master", "local[2]", *job]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    unfinished.rename(CLASSES)


if __name__ == "__main__":
    main()
