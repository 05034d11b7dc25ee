"""The stages of a registration, one file each; `GenRegLogic.register` calls them.

In the order of the data flow: prepare, linear, propose, contrast, refine, finish. Their parts: describe, similarity,
translation_search, search and schedule.
"""
