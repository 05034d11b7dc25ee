"""Delayed calls, which are made once however often they are requested, and repeated calls."""

import qt

__all__ = ["Later", "repeating"]


class Later:
    """Calls a function when Qt is idle, or after a delay; further requests restart the delay.

    Args:
        function: Without arguments.
        delayMs: Waiting time after the last request.
    """

    def __init__(self, function, delayMs=0):
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(delayMs)
        self._timer.connect("timeout()", function)

    def ask(self, *_):
        """Request a call; all arguments are ignored, so that this method can be an observer."""
        self._timer.start()

    def stop(self):
        """Cancel the requested call."""
        self._timer.stop()


def repeating(function, intervalMs):
    """A timer that calls a function repeatedly, not yet started.

    Args:
        function: Without arguments.
        intervalMs: Time between two calls, ms.
    """
    timer = qt.QTimer()
    timer.setInterval(intervalMs)
    timer.connect("timeout()", function)
    return timer
