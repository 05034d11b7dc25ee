"""Calls that happen later, once, however often they were asked for."""

import qt

__all__ = ["Later", "repeating"]


class Later:
    """Calls a function once Qt has nothing more urgent to do; asking again before that changes nothing.

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
        """Call later; takes and ignores any arguments, so that it can serve as an observer."""
        self._timer.start()

    def stop(self):
        """Forget what was asked for."""
        self._timer.stop()


def repeating(function, intervalMs):
    """A timer that calls a function over and over, not yet started.

    Args:
        function: Without arguments.
        intervalMs: Between two calls.
    """
    timer = qt.QTimer()
    timer.setInterval(intervalMs)
    timer.connect("timeout()", function)
    return timer
