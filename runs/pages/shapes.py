"""The small drawings that stand before words, so that no state and no risk is told by colour alone."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

# Each is drawn in a square of 16 by 16 with the colour of the text around it.
_DRAWN = {
    "ring": '<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2"/>',
    "half": '<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M8 2.5a5.5 5.5 0 0 0 0 11z" fill="currentColor"/>',
    "disc": '<circle cx="8" cy="8" r="6.5" fill="currentColor"/>',
    "triangle": '<path d="M8 1.5 15 14H1z" fill="currentColor"/>',
    "play": '<path d="M4 2.5 13.5 8 4 13.5z" fill="currentColor"/>',
    "pause": '<path d="M4 2.5h3v11H4zM9 2.5h3v11H9z" fill="currentColor"/>',
    "tick": '<path d="M2.5 8.5 6.5 12.5 13.5 4" fill="none" stroke="currentColor" stroke-width="2.5"/>',
    "cross": '<path d="M3.5 3.5l9 9M12.5 3.5l-9 9" fill="none" stroke="currentColor" stroke-width="2.5"/>',
    "bar": '<path d="M2.5 8h11" fill="none" stroke="currentColor" stroke-width="2.5"/>',
    "clock": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M8 4.5V8l2.5 2" fill="none" stroke="currentColor" stroke-width="1.6"/>',
}
RISKS = {"low": "ring", "medium": "half", "high": "disc", "critical": "triangle"}


def shape(name: str) -> SafeString:
    """The drawing called `name`, hidden from readers of text, who have the word beside it."""
    drawn = mark_safe(_DRAWN[name])  # noqa: S308 - our own constant
    return format_html('<svg class="shape" viewBox="0 0 16 16" aria-hidden="true">{}</svg>', drawn)
