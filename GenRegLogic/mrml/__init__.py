"""The one adapter between GenReg's engine and Slicer's scene (MRML). It needs `slicer` and `vtk`, no Qt and no torch.

    inputs        what the chosen nodes are, and what is wrong with them
    volumes       scalar volume nodes to arrays and geometries, and back
    parents       the transforms above a node, and hanging a node below another
    transforms    displacement fields to grid transform nodes, and any transform node to what the engine starts from
    masks, landmarks
    grids         a field's margin and frame, in NumPy alone
    snapshot      remembers nodes so that they can be put back (undo)
    reload        keeps fields linear that come back from files
    views, curve  what the slice views show; the objective's plot
    pair          a transform with its two scans: where inspection starts
    modes, deformation, colors, places    ways to look at a result
    maps, htmlrun, transformjob           the worker's jobs about a transform
    tables, segments                      measures in Slicer's tables
    run           one registration from nodes to nodes

Slicer's world is RAS, the engine's LPS; only this package knows both. Millimeters everywhere.
"""
