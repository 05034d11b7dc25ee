"""Conversion between MRML nodes and the engine's data: volumes, transforms, masks, segments, tables, and parents."""
