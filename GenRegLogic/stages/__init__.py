"""The stages of a registration, one file each, in the order in which data flows; `GenRegLogic.register` calls them.

prepare, linear, describe, contrast, propose, search, similarity, refine, finish.
"""
