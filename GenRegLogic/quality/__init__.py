"""The quality of a result: measures, expected error, verdict, report, maps, figures of organs.

Nothing in this room changes a transform.
"""
