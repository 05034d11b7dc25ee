"""The panel of the Slicer module GenReg, in parts; a package, so that Slicer takes none of them for a module.

    panel          the panel as a whole: its parts, and the parameter node that they follow
    inputs/        what the user or a script chose: parameters, the line below the inputs, the estimate, devices
    run/           Run, Cancel and Stop and keep (control), what the Run button says (runbutton), the curve and the log
                   (progressview), the worker process and its one run at a time (runner), small jobs while nothing runs
                   (idlejobs)
    result/        the verdict and its figures (resultsection), the buttons below them and what the views show of a
                   result (display), the selected transform and its two scans (selection)
    inspect/       the section Inspect: modes, maps, measures, the buttons that do something (actions), the progress of
                   what they compute (job); and the same for scripts (scripting)
    selftest/      tests that run in Slicer, and the scans they use
    text           numbers as people say them, errors as one sentence
    timing         calls that happen later
    bootstrap      finds the engine, the package GenRegLogic
    startup        sample pairs, and fields that come back from files stay linear
    dependencies   torch, through the PyTorch extension

Nothing here needs more than Slicer at import; torch lives in the worker process only.
"""
