"""A digest of a workflow's code, so that a change under runs that are under way is noticed.

It covers the function, its clean-up, and the functions, classes and constants of the same module that these
use, however far away. Comments, docstrings, formatting and the order of definitions do not count.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from runs.workflow import Workflow


def digest_of(definition: Workflow) -> str:
    """The digest of the code of `definition`, as hexadecimal; empty when its source cannot be read."""
    functions = [definition.function, *([definition.on_cancel] if definition.on_cancel else [])]
    return _digest(tuple(inspect.unwrap(function) for function in functions))


@cache
def _digest(functions: tuple[Callable[..., Any], ...]) -> str:
    texts = []
    for function in functions:
        try:
            node = _tree_of(function)
            around = _definitions(inspect.getsource(sys.modules[function.__module__]))
        except (OSError, TypeError, SyntaxError, KeyError):
            return ""
        node.decorator_list = []  # what is declared about a workflow is no code of it
        texts += [_plain(node), *(_plain(each) for each in _used(node, around))]
    return hashlib.sha256("\n\n".join(texts).encode()).hexdigest()


def _tree_of(function: Callable[..., Any]) -> Any:
    """A fresh tree of the function alone, whether it stands in a module or inside another function."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise TypeError(f"{function} is not a function with a name")
    return node


@cache
def _definitions(source: str) -> dict[str, list[ast.stmt]]:
    """What a module of this source defines at its top, by name. A name defined twice has two definitions."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in ast.parse(source).body:
        for name in _names_defined(statement):
            found.setdefault(name, []).append(statement)
    return found


def _names_defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for part in ast.walk(statement):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _used(root: ast.AST, around: dict[str, list[ast.stmt]]) -> list[ast.stmt]:
    """The definitions that `root` uses, directly or through others, in the order of their names."""
    reached: dict[str, list[ast.stmt]] = {}
    waiting = [root]
    while waiting:
        for part in ast.walk(waiting.pop()):
            name = part.id if isinstance(part, ast.Name) else ""
            if name in around and name not in reached:
                reached[name] = around[name]
                waiting += around[name]
    return [statement for name in sorted(reached) for statement in reached[name]]


def _plain(node: ast.AST) -> str:
    return ast.unparse(_WithoutDocstrings().visit(ast.parse(ast.unparse(node))))


class _WithoutDocstrings(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
        return super().generic_visit(node)
