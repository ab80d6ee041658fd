"""horovodrun, with a user's mistakes told in one line.

Installed over Horovod's own script of that name. It adds that more ranks than slots, and a mistake that a rank has
already named, end in exit code 2 without a stack trace, and that of ranks that fail the first is named. To see what
Horovod was built with it looks into the library: Horovod itself imports torch for each look, which takes seconds.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import horovod.runner.launch as horovod_launch
from horovod.runner.common.util.hosts import parse_host_files, parse_hosts_and_slots

from training.command import exit_with_user_errors
from training.errors import UserError

USER_ERROR = 2


def main() -> None:
    exit_with_user_errors(check_slots)
    horovod_launch.mpi_built = lambda verbose=False: built_with(b"libmpi")
    horovod_launch.gloo_built = lambda verbose=False: built_with(b"GlooAllreduce")
    try:
        horovod_launch.run_commandline()
    except RuntimeError as error:
        failed = re.search(r"Process name: (?P<rank>.+)\nExit code: (?P<code>-?\d+)", str(error))
        if failed is None:
            raise
        rank, code = failed["rank"], int(failed["code"])
        if code == USER_ERROR:
            sys.exit(USER_ERROR)
        print(
            f"error: rank {rank} was the first to end, {how_ended(code)}; the others were stopped. The same command "
            "goes on after the last checkpoint.",
            file=sys.stderr,
        )
        sys.exit(1)


def built_with(name: bytes) -> bool:
    """Whether Horovod's library for PyTorch has a symbol, or needs a library, of that name."""
    folder = Path(find_spec("horovod").origin).parent / "torch"
    return any(name in library.read_bytes() for library in folder.glob("*.so"))


def how_ended(code: int) -> str:
    """What an exit code says, as "killed by signal 9"; 9 is also how a system that lacks memory kills."""
    number = code - 128 if code > 128 else -code
    return f"killed by signal {number}" if number > 0 else f"with exit code {code}"


def check_slots() -> None:
    """Raises UserError where the hosts that -H or -hostfile names have too few slots for -np."""
    arguments = horovod_launch.parse_args()
    hosts = arguments.hosts or (arguments.hostfile and parse_host_files(arguments.hostfile))
    if not hosts or not arguments.num_proc:
        return
    slots = sum(parse_hosts_and_slots(hosts)[1].values())
    if arguments.num_proc > slots:
        raise UserError(
            f"-np {arguments.num_proc} asks for more ranks than the {slots} slots of {hosts}: "
            f"use -np {slots} or name hosts with more slots"
        )
