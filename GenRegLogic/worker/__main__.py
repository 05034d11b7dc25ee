"""The worker's program.

`process.WorkerProcess` runs this file by its path, so that it works both from a checkout and from an application's
folder; the import path is corrected here, before anything else is imported.
"""

import os
import sys

LOST_PROGRAM = 3
"""Exit code of a worker whose program has ended."""


def main() -> int:
    """Serve jobs until the program closes the channel; returns the exit code."""
    here = os.path.dirname(os.path.abspath(__file__))
    # A script's folder comes first on the path, where its modules would hide others of the same names.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    sys.path.insert(0, os.path.dirname(os.path.dirname(here)))
    import faulthandler
    import threading

    faulthandler.enable()
    threading.Thread(target=leave_with_program, name="lifeline", daemon=True).start()
    from GenRegLogic.machine.libraries import set_runtime_variables
    from GenRegLogic.worker.channel import ChannelClosed, open_inherited
    from GenRegLogic.worker.server import Server

    set_runtime_variables()
    try:
        Server(open_inherited(sys.argv[1:])).run()
    except ChannelClosed:
        return LOST_PROGRAM
    return 0


def leave_with_program() -> None:
    """End this process as soon as the other end of standard input is closed, for whatever reason."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(LOST_PROGRAM)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # immediately, so that no library's clean-up delays the end of the process or keeps GPU memory
