"""Pages out of templates: each a single HTML file that asks nothing of a network.

Templates escape what they are given, so that a label or a file name can never become an element.
"""

import functools
import pathlib
import re
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from asc_jax.report import formatting
from asc_jax.runtime.errors import InputError

# After these a name may continue in the next line; a comma within a number is none of them.
_BREAKS = re.compile(r"([_/](?=\w)|,(?=[^\W\d]))")


def render(template: str, **content: object) -> str:
    """Renders a page.

    Args:
      template: the name of a file in `templates/`.
      content: what it shows; a name that the template uses and that is missing is an error.
    """
    return _environment().get_template(template).render(sections=[], **content)


def refuse_other_page(path: pathlib.Path, kicker: str) -> None:
    """Checks that a page takes the place of nothing but an earlier page of its kind.

    Args:
      path: where it is to go.
      kicker: the line above its title, by which its kind is known.

    Raises:
      InputError: another file is there, or cannot be read.
    """
    try:
        if kicker.encode() in path.read_bytes():
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror}); name another", path=path) from None
    raise InputError("exists, and is not a page of this kind; name another file", path=path)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asc_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("percent", "interval", "quantity", "count", "points", "p_value", "spread", "sentence")
    environment.filters |= {name: getattr(formatting, name) for name in names}
    own = (breakable, breakable_text, row_label, words, here)
    environment.filters |= {function.__name__: function for function in own}
    environment.globals |= {"DASH": formatting.DASH}
    return environment


def breakable(value: object) -> Markup:
    """Lets a label or a path break after `_`, `/` and `,`; leaves markup alone."""
    if isinstance(value, Markup):
        return value
    return Markup(_BREAKS.sub(r"\1<wbr>", str(escape(value))))


def breakable_text(value: str) -> str:
    """Does the same by characters of no width, for an attribute that a style sheet shows."""
    return _BREAKS.sub("\\1\N{ZERO WIDTH SPACE}", value)


def words(command: str) -> Markup:
    """Lets a command break between its words, or else within them."""
    spans = (
        Markup('<span class="field">{}</span>').format(breakable(w)) for w in command.split(" ")
    )
    return Markup(" ").join(spans)


def row_label(name: str | Markup) -> Markup:
    """Lets a setting's name break after its fields, or else within them; leaves markup alone."""
    if isinstance(name, Markup):
        return name
    broken = re.sub(r"([_/=]|\.(?=[a-z]))", r"\1<wbr>", str(escape(name)))
    spans = broken.replace(",", ',</span> <span class="field">')
    return Markup(f'<span class="field">{spans}</span>')


def here(path: str) -> str:
    """Makes a link to a file out of its path, seen from the page's folder.

    What `quote` leaves cannot name a scheme or, behind the `./`, another host. Bytes that are no
    UTF-8 stay what they are.
    """
    return f"./{quote(path.encode(errors='surrogateescape'))}"
