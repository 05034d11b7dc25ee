"""Tests that run in Slicer, and the scans they use."""
