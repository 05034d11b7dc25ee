"""The text and the state of the Run button.

They follow from the check of the inputs (`GenRegLogic.mrml.runs.inputs.understand`). During a run the button is hidden
(`RunControl`).
"""

from slicer.i18n import tr as _

__all__ = ["showRunButton"]


def showRunButton(button, understanding, refused=False):
    """Set the text of the Run button, and whether it is enabled.

    Args:
        button: The Run button.
        understanding: `GenRegLogic.mrml.runs.inputs.Understanding` of the inputs; None without a scene.
        refused: The inputs cannot be used; the line below them states the reason.

    Returns:
        Whether a run can start.
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
