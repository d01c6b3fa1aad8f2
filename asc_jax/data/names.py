"""Names that people write in tables: what files can be called, and what looks the same."""

import unicodedata
from collections.abc import Iterable

# Generated clips are named after labels, with some 50 bytes more, and a name takes 255.
_LABEL_BYTES = 200


def label_fault(label: str) -> str:
    """Why no file can be named after a label ("has a slash"), or ""."""
    if "/" in label or "\\" in label:
        return "has a slash"
    if label.startswith("."):
        return "begins with a dot"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in label):
        return "holds a control character"
    if label != label.strip():
        return "begins or ends with a space"
    if any(unicodedata.category(character) == "Cs" for character in label):
        return "is not UTF-8"
    if len(label.encode()) > _LABEL_BYTES:
        return f"is longer than {_LABEL_BYTES} bytes"
    return ""


def look_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two of different names that a reader may take for one, or None.

    They differ in case, in spaces, in Unicode's form, in characters without a width or, as
    numbers, in leading zeros.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_look(name), name)
        if other != name:
            return other, name
    return None


def _look(name: str) -> str:
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    name = "".join(c for c in name if unicodedata.category(c) != "Cf")  # zero-width characters
    name = " ".join(name.split())
    return name.lstrip("0") or "0" if name.isdecimal() else name


def on_any_disk(path: str) -> str:
    """The same for paths that are one file where names have no case, or one Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
