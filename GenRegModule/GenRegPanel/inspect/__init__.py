"""The section Inspect: ways to look, maps, measures, local repair and the report page."""
