"""What flows through the engine and where it lies: volumes, grids, transforms, and their geometry.

LPS, mm; arrays (k, j, i); transforms map fixed points to moving points. Nothing here reads files or compares scans.
"""
