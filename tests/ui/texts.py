"""Where the pages' texts stand: in templates, in Python and in the script."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from jinja2 import nodes
from jinja2.ext import extract_from_ast

import audit_ui
import lifecycle
from audit_ui.site import _environment

ROOT: Final = Path(audit_ui.__file__).parent
TEMPLATES: Final = sorted((ROOT / "templates").iterdir())
MODULES: Final = sorted(ROOT.rglob("*.py"))
SAYING: Final = sorted(Path(lifecycle.__file__).parent.rglob("*.py"))
"""Where the library says something of objects that the pages repeat."""

_READ_OUT: Final = {"alt", "aria-label", "data-label", "placeholder", "title"}
_AS_TYPED: Final = {"code", "kbd", "pre"}
_LETTER: Final = re.compile(r"[^\W\d_]")


def messages() -> dict[str, tuple[str, ...]]:
    """Every text that is put into a language: its singular, and its plural where it has one."""
    found: dict[str, tuple[str, ...]] = {}
    for path in TEMPLATES:
        tree = _environment().parse(path.read_text())
        for _line, function, texts in extract_from_ast(tree, ("_", "ngettext")):
            forms = texts if isinstance(texts, tuple) else (texts,)
            found.update(_entry(function, forms))
    for path in (*MODULES, *SAYING):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if path in MODULES or "Said(" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                constants = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found.update(_entry(node.func.id, constants))
    script = (ROOT / "static" / "pages.js").read_text()
    found.update({text: (text,) for text in re.findall(r'\bsay\("([^"]+)"', script)})
    return found


def _entry(function: str, forms: object) -> dict[str, tuple[str, ...]]:
    texts = [form for form in forms if isinstance(form, str)]  # type: ignore[attr-defined]
    wanted = {"_": 1, "gettext_noop": 1, "ngettext": 2, "Said": 1}.get(function, 0)
    return {texts[0]: tuple(texts[:wanted])} if wanted and texts else {}


def unmarked(source: str) -> list[str]:
    """What a template says without asking its catalogue."""
    tree = _environment().parse(source)
    reader = _Reader()
    reader.feed("".join(data.data for data in tree.find_all(nodes.TemplateData)))
    reader.close()
    asked = {id(node) for call in tree.find_all(nodes.Call) if _asks(call) for node in call.args}
    constants = [
        node.value
        for node in tree.find_all(nodes.Const)
        if isinstance(node.value, str) and id(node) not in asked
    ]
    return reader.said + [text for text in constants if re.search(r"[A-Za-z] [A-Za-z]", text)]


def _asks(call: nodes.Call) -> bool:
    return isinstance(call.node, nodes.Name) and call.node.name in ("_", "ngettext")


class _Reader(HTMLParser):
    """Collects what a reader would see or hear of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._as_typed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._as_typed += tag in _AS_TYPED
        self.said += [
            value for name, value in attrs if name in _READ_OUT and value and _LETTER.search(value)
        ]

    def handle_endtag(self, tag: str) -> None:
        self._as_typed -= tag in _AS_TYPED

    def handle_data(self, data: str) -> None:
        if not self._as_typed and _LETTER.search(data):
            self.said.append(data.strip())


def unmarked_mistakes() -> Iterator[str]:
    """The errors whose words ask no catalogue."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "Mistake",
                "_Notice",
            ):
                for arg in node.args[1:]:
                    if isinstance(arg, ast.Constant | ast.JoinedStr) and _words(arg):
                        yield f"{path.name}:{arg.lineno}"


def _words(node: ast.expr) -> bool:
    return any(
        isinstance(one, ast.Constant) and isinstance(one.value, str) and _LETTER.search(one.value)
        for one in ast.walk(node)
    )
