"""How good a result is: measures, expected error, verdict, report, maps, figures of organs.

Nothing here changes a transform.
"""
