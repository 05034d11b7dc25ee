"""The panel of the Slicer module GenReg, in parts; a package, so that Slicer does not load its files as modules.

    panel          the panel as a whole: its parts, and the parameter node that they follow
    inputs/        the choices of the user or a script: parameters, the line below the inputs, the estimate, devices
    run/           Run, Cancel, and Stop and keep (control), the state of the Run button (runbutton), the objective plot
                   and the log (progressview), the worker process with one run at a time (runner), small jobs while
                   nothing runs (idlejobs)
    result/        the verdict and its figures (resultsection), the buttons below them and the display of a result
                   (display), the selected transform and its two scans (selection)
    inspect/       the section Inspect: modes, maps, measures, worst places, repair and report (actions), the progress
                   of its jobs (job); and the same for scripts (scripting)
    selftest/      tests that run in Slicer, and the scans that they use
    text           times, memory, verdict and errors as text
    timing         delayed and repeated calls
    bootstrap      finds the engine, the package GenRegLogic
    startup        registers sample pairs, and keeps loaded fields linear
    dependencies   torch, through the PyTorch extension

At import only Slicer is needed; torch is loaded in the worker process only.
"""
