"""The verdict on a result, and what is shown of it: grid, before and after, undo."""
