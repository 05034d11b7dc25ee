"""A separate process that computes, so that the program which asks stays live, can stop it at any time, and gets all
memory back.

The asking side uses `client.Worker` and loads neither torch nor anything else that is large; the process runs
`__main__.py`, which serves the jobs of `jobs.py`.
"""
