"""Ending a process with its main thread, whatever other threads it has."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

FAILED = 1


def run_and_exit(program: Callable[[], object]) -> NoReturn:
    """Call ``program`` and end the process with the exit status that it asks for, at once: no other thread is waited
    for, and nothing that was to happen at exit does."""
    code: object = FAILED
    try:
        program()
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:  # nothing may keep the process from ending
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else FAILED)
