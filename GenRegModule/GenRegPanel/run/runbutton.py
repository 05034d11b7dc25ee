"""What the Run button says, and when it can be clicked.

Below Inputs is checked what the user chose (`GenRegLogic.mrml.runs.inputs.understand`); this is what follows from it
for the button. While a run is under way the button is hidden (`RunControl`).
"""

from slicer.i18n import tr as _

__all__ = ["showRunButton"]


def showRunButton(button, understanding, refused=False):
    """Set the text of the Run button, and whether it can be clicked.

    Args:
        button: The Run button.
        understanding: `GenRegLogic.mrml.runs.inputs.Understanding` of the inputs; None without a scene.
        refused: The inputs cannot be used; the line below them says why.

    Returns:
        Whether a run can begin.
    """
    ready = not refused and understanding is not None and understanding.ready
    if refused:
        text = _("Check the inputs")
    elif understanding is None:
        text = _("Select the fixed and moving volumes")
    else:
        text = _("Run") if ready else understanding.missing
    button.text, button.enabled = text, ready
    return ready
