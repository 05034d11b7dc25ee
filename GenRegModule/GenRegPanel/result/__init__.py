"""The verdict on a result, its display (grid, before and after), and Undo."""
