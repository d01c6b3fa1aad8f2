"""Writes the pages that the site is built of: those of this folder, tables of fields, source files.

python docs/pages.py build/pages
"""

import html
import pathlib
import re
import shutil
import sys
from collections.abc import Mapping

from asc_jax.config.files import call
from asc_jax.config.format import flatten
from asc_jax.config.listing import assignments
from asc_jax.config.rules import (
    AUGMENT_RULES,
    FRONTEND_RULES,
    GAN_RULES,
    LARGEST,
    MANY,
    MODEL_RULES,
    RULES,
    Rule,
)

DOCS = pathlib.Path(__file__).parent
ROOT = DOCS.parent
FIELDS = re.compile(r"<!-- fields of (\S+\.py)(?:: (\w+))? -->")
LINK = re.compile(r"\]\(\.\./([^)#\s]+)")  # to a file beside docs/

CLASSIFIER_RULES = {
    **RULES,
    **MODEL_RULES["resnet"],
    **FRONTEND_RULES["log_mel"],
    **AUGMENT_RULES["standard"],
}


def write_pages(target: pathlib.Path) -> None:
    """Writes the pages of the site, anew.

    Args:
      target: the folder for them; what is in it is deleted.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(DOCS, target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    linked = set()
    for page in target.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        linked |= set(LINK.findall(text))
        text = LINK.sub(r"](source/\1.md", text)
        page.write_text(FIELDS.sub(lambda mark: table_of_fields(mark[1], mark[2]), text), "utf-8")
    for path in sorted(linked):
        code = (ROOT / path).read_text(encoding="utf-8")
        page = target / "source" / f"{path}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# {path}\n\n````{page.stem.rpartition('.')[2]}\n{code}````\n", "utf-8")


def table_of_fields(path: str, group: str | None = None) -> str:
    """Writes the fields of a config as Markdown, a table for each group.

    Args:
      path: the config file, seen from the project's folder.
      group: the only one to write; None for all.
    """
    file = ROOT / path
    values = flatten(call(file, "get_config"))
    rules = GAN_RULES if "gan.loss" in values else CLASSIFIER_RULES
    tables: dict[str, list[str]] = {}
    for field, above, beside in assignments(file):
        place = field.rpartition(".")[0]
        if field in values and group in (None, place):
            comment = " ".join([*above, beside[:1].upper() + beside[1:]]) if above else beside
            row = _row(field, values[field], comment, rules)
            tables.setdefault(place, []).append(row)
    head = "| field | value | meaning | may be |\n|---|---|---|---|\n"
    return "\n".join(
        (f"#### `{place}`\n\n" if place else "") + head + "".join(rows)
        for place, rows in tables.items()
    )


def _row(field: str, value: object, comment: str, rules: Mapping[str, Rule]) -> str:
    limits = rules[field].expected
    for boundless in (f", at most {MANY}", f", at most {LARGEST:g}"):
        limits = limits.replace(boundless, "")
    cells = [f"<code>{field}</code>", f"<code>{html.escape(repr(value), quote=False)}</code>"]
    cells += [html.escape(text, quote=False) for text in (comment, limits)]
    cells = [cell.replace("|", "&#124;").replace("*", "&#42;") for cell in cells]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    write_pages(pathlib.Path(sys.argv[1]))
