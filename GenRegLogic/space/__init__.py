"""Volumes, grids and transforms, and their geometry.

LPS, mm; arrays (k, j, i); transforms map fixed points to moving points. Nothing here reads files or compares scans.
"""
