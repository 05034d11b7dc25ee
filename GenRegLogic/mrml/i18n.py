"""Translation where Slicer has it; the bare MRML runtime (tests, scripts outside Slicer) has none."""

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """Return the text unchanged."""
        return text


__all__ = ["tr"]
