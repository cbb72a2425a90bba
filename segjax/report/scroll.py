"""A box for what may be wider than the page: it scrolls sideways, and its edges show that."""

from html import escape


def scrolling(content: str, *, name: str, needs: int | None = None) -> str:
    """Returns the content in a box that scrolls by touch, mouse and keyboard.

    The style sheet shades an edge behind which there is more. Where the page is narrower than
    `needs` pixels, a line below says so in words. `content` is markup, `name` text.
    """
    hint = ""
    if needs is not None:
        hint = f'<p class="hint" style="--needs:{needs}px">Scroll sideways to see the rest.</p>'
    return (
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">'
        f"{content}</div>{hint}"
    )
