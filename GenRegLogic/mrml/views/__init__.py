"""What the slice views show of a result: layers, modes, the drawn deformation, colors, the chart."""
