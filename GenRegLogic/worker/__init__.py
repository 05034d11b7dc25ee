"""A separate process that computes, so that the program stays responsive, can stop a job at any time, and gets all of
its memory back.

The program uses `client.Worker`, which loads neither torch nor any other large package; the process runs `__main__.py`,
which serves the jobs of `jobs.py` and `maps_job.py`.
"""
