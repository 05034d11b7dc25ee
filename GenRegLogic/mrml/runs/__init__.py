"""From nodes to the worker's jobs and back to nodes: registration, local repair, maps, report."""
