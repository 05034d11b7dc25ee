"""The panel of the Slicer module GenReg, in parts; a package, so that Slicer takes none of them for a module.

    bootstrap      finds the engine, the package GenRegLogic
    parameters     what the user chose, saved with the scene
    runner         the worker process, one run at a time, and the timer that polls it
    chores         small jobs for the worker while nothing runs: names of devices, contrasts of the two volumes
    dependencies   torch, through the PyTorch extension
    inputspart     the line under the inputs, the estimate, the text of the Run button
    deviceslist    devices by their names
    runcontrol     Run, Cancel, Stop and keep, progress
    curvepart      the objective's curve
    logpart        what the run says
    resultpart     verdict and figures
    review         grid, before and after, checkerboard, undo
    words          numbers as people say them
    messages       errors as one sentence
    timing         calls that happen later, once

Nothing here needs more than Slicer at import; torch lives in the worker process only.
"""
