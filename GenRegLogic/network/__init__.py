"""The trained network at work: the model, its weights as a file, and its use in the stages.

Training is in `training`.
"""
