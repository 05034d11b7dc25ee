"""Tests that run in Slicer, and the scans that they use."""
