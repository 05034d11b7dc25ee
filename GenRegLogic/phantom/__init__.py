"""The project's own pair of scans, the demonstration on it, and its picture."""
