"""MRML nodes to what the engine takes, and back: volumes, transforms, masks, segments, tables, and their parents."""
