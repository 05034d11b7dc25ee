"""The panel of the Slicer module GenReg, in parts; a package, so that Slicer takes none of them for a module.

    bootstrap      finds the engine, the package GenRegLogic
    panel          the panel as a whole; its state is in parameters, saved with the scene
    inputspart     the line under the inputs, the estimate, the text of the Run button
    deviceslist    devices by their names, and how fast runs have been on them
    runcontrol     Run, Cancel, Stop and keep, progress; with curvepart and logpart
    resultpart     verdict and figures
    review         grid, before and after, checkerboard, undo
    looking        what is drawn and shown of a result, for review and for what follows
    inspectpart    the section Inspect: inspectmodes (grid, arrows, checkerboard, flicker, fusion, side by side),
                   inspectmaps, inspectplaces (the worst), inspectmeasures (tables), inspectrepair (Refine here),
                   inspectreport (the HTML page), inspectjob (progress of what they compute)
    inspectlogic   the same for scripts
    runner         the worker process, one run at a time, and the timer that polls it
    request        what a script asks of the module's logic
    chores         small jobs for the worker while nothing runs: names of devices, contrasts of the two volumes
    dependencies   torch, through the PyTorch extension
    linearity      fields that come back from files stay linear
    words, messages, timing      numbers as people say them, errors as one sentence, calls that happen later
    sampledata, selftest         two pairs to try, and tests that run in Slicer

Nothing here needs more than Slicer at import; torch lives in the worker process only.
"""
