"""Run, Cancel and Stop and keep: the buttons, the progress, and the worker process."""
