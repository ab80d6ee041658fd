"""horovodrun, with a user's mistakes told in one line.

Installed over Horovod's own script of that name. It adds two things: more ranks than slots, and a mistake that a rank
has already named, end in exit code 2 without a stack trace.
"""

import re
import sys

from horovod.runner.common.util.hosts import parse_host_files, parse_hosts_and_slots
from horovod.runner.launch import parse_args, run_commandline

from training.errors import UserError, exit_with_user_errors

USER_ERROR = 2


def main() -> None:
    exit_with_user_errors(check_slots)
    try:
        run_commandline()
    except RuntimeError as error:
        codes = re.findall(r"Exit code: (\d+)", str(error))
        if str(USER_ERROR) in codes:
            sys.exit(USER_ERROR)
        raise


def check_slots() -> None:
    """Raises UserError where the hosts that -H or -hostfile names have too few slots for -np."""
    arguments = parse_args()
    hosts = arguments.hosts or (arguments.hostfile and parse_host_files(arguments.hostfile))
    if not hosts or not arguments.num_proc:
        return
    slots = sum(parse_hosts_and_slots(hosts)[1].values())
    if arguments.num_proc > slots:
        raise UserError(
            f"-np {arguments.num_proc} asks for more ranks than the {slots} slots of {hosts}: "
            f"use -np {slots} or name hosts with more slots"
        )
