"""The stages of a registration, one file each; `GenRegLogic.register` calls them.

In the order of the data flow: prepare, alignment, doubts, propose, refine, finish. Their parts: describe, similarity,
linear, pose_search, search and schedule.
"""
