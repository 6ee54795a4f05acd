"""``flwr-clientapp`` for a SuperExec beside clientapps.py: ``python clientapp_request.py FIFO INSTEAD ARGUMENTS…``.

Asks for a ClientApp with ARGUMENTS to be forked; where nobody reads the FIFO, becomes the program INSTEAD. The file is
run by its path, in a bare interpreter, so it imports nothing of the project.
"""

import json
import os
import select
import sys


def main() -> None:
    fifo, instead, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    request = json.dumps(arguments).encode() + b"\n"
    try:
        if len(request) > select.PIPE_BUF:  # only up to here two of them cannot mix
            raise OSError("the request is too long for a pipe")
        pipe = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        os.write(pipe, request)
    except (
        OSError
    ):  # nobody reads, or the pipe is full: the task is done all the same, and only the imports are paid for
        os.execv(instead, [instead, *arguments])


if __name__ == "__main__":
    main()
