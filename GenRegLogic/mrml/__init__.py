"""The one adapter between GenReg's engine and Slicer's scene (MRML). It needs `slicer` and `vtk`, no Qt and no torch.

    nodes/    nodes to arrays and back: volumes, masks and landmarks, segments, transforms, the transforms above a node
              (parents), a transform with its two scans (pair), measures in tables, the state that Undo restores
              (undo), and linear interpolation for fields that are loaded from files (keeplinear)
    runs/     the worker's jobs from nodes to nodes: the base class (job), what is to be registered (inputs),
              registration, local repair, and the jobs about a transform (maps, report page)
    views/    what the slice views show: layers; checkerboard, flicker, fusion and side by side (comparison); maps with
              their colors and legends; the deformation as grid or arrows; stepping through the worst places
              (worstplaces); the objective plot
    i18n      translation, for all three

Slicer's world is RAS, the engine's LPS; only this package knows both. Millimeters everywhere.
"""
