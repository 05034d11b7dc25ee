"""The worker's jobs from nodes to nodes: registration, local repair, maps, report."""
