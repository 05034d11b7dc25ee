"""What the exit codes of `genreg` mean; scripts rely on them."""

__all__ = ["BAD_INPUT", "DONE", "EXIT_CODES_HELP", "INTERRUPTED", "NOT_TRUSTWORTHY", "UNEXPECTED"]

DONE = 0
UNEXPECTED = 1
BAD_INPUT = 2
NOT_TRUSTWORTHY = 3
INTERRUPTED = 130

EXIT_CODES_HELP = """\
exit codes:
  0    done
  1    an error in GenReg itself
  2    bad input, or no room left on disk or in memory; nothing was written
  3    done and written, but the verdict is "failed": don't trust the result
  130  interrupted; after one Ctrl-C the best result so far was written, after two nothing
"""
