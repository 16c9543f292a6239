"""HTML that is safe by construction: text is escaped unless it was made by `tag`."""

import html
from collections.abc import Iterable

_VOID = {"meta", "img", "input", "br", "hr", "link"}


class Html(str):
    """Finished HTML. Plain strings are text and get escaped wherever they meet it."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value as HTML: finished HTML as it is, None as nothing, lists joined, the rest as escaped text."""
    if value is None:
        return Html("")
    if isinstance(value, Html):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        return Html("".join(text(item) for item in value))
    return Html(html.escape(str(value), quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """One element. `class_="x"` gives class, `data_tip` gives data-tip; False and None leave an attribute out."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{html.escape(str(value), quote=True)}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in _VOID else f"{opening}{text(children)}</{name}>")


def join(*children: object) -> Html:
    """Several pieces one after another."""
    return text(children)
