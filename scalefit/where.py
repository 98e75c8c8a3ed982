"""The little language of `--where`: which rows of a table to take.

`dataset == 'c4' and step > 1000` is parsed by Python's own grammar and evaluated column by column
over a short list of allowed nodes. Calls, attributes, subscripts and powers are not among them, so
a text from a stranger can select rows and nothing else.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalefit.errors import DataError
from scalefit.importers import nearest

_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_GRAMMAR = "columns, numbers, texts, == != < <= > >= in, and or not, + - * / %"


def select(frame: pd.DataFrame, expression: str) -> NDArray[np.bool_]:
    """The rows of the frame for which the expression holds, as a mask of shape (rows,).

    A null compares as unequal to everything; `column == None` finds it. Raises DataError for what
    is not in the language, for a column that the frame lacks, and for text compared with numbers.
    """
    text = expression.strip()
    try:
        tree = ast.parse(text, mode="eval")
        return _Evaluation(frame, text).truth(tree.body)
    except SyntaxError as error:
        place = f"at character {error.offset}" if error.offset else "as a whole"
        raise DataError(f'--where "{text}" cannot be read {place}: {error.msg}') from error
    except (RecursionError, MemoryError) as error:
        raise DataError(f'--where "{text[:40]}..." is nested too deeply; shorten it') from error
    except (TypeError, ValueError, ArithmeticError, NotImplementedError) as error:
        raise DataError(f'--where "{text}" cannot be evaluated: {error}') from error


class _Evaluation:
    """One walk over one expression; every value is a column (Series) or a constant."""

    def __init__(self, frame: pd.DataFrame, text: str) -> None:
        self.frame = frame
        self.text = text

    def truth(self, node: ast.expr) -> NDArray[np.bool_]:
        """A condition, as a mask over the rows."""
        match node:
            case ast.BoolOp(op=ast.And(), values=terms):
                return _all(self.truth(term) for term in terms)
            case ast.BoolOp(values=terms):
                return _any(self.truth(term) for term in terms)
            case ast.UnaryOp(op=ast.Not()):
                return ~self.truth(node.operand)
            case ast.Compare():
                return self._compare(node)
            case ast.Name():
                return self._flag(node)
        raise self._refusal(node, "is not a condition")

    def value(self, node: ast.expr) -> Any:
        """A column or a constant, or arithmetic on them."""
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.Name():
                return self._column(node)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return _ARITHMETIC[type(node.op)](self._number(node.left), self._number(node.right))
            case ast.UnaryOp() if type(node.op) in _SIGNS:
                return _SIGNS[type(node.op)](self._number(node.operand))
        raise self._refusal(node, "is not allowed")

    def _compare(self, node: ast.Compare) -> NDArray[np.bool_]:
        operands = [node.left, *node.comparators]
        pairs = zip(operands, node.ops, operands[1:], strict=False)
        return _all(self._link(left, op, right) for left, op, right in pairs)

    def _link(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> NDArray[np.bool_]:
        if isinstance(op, ast.In | ast.NotIn):
            found = self._is_in(self.value(left), right)
            return ~found if isinstance(op, ast.NotIn) else found
        if type(op) not in _COMPARISONS:
            raise self._refusal(right, 'follows "is", which is not allowed (use ==)')
        return self._mask(_compared(self.value(left), op, self.value(right)))

    def _is_in(self, value: Any, options: ast.expr) -> NDArray[np.bool_]:
        if not isinstance(options, ast.List | ast.Tuple | ast.Set):
            raise self._refusal(options, "follows in, but is not a list such as [1, 2]")
        matches = [_compared(value, ast.Eq(), self.value(option)) for option in options.elts]
        return _any([self._mask(False), *map(self._mask, matches)])

    def _mask(self, result: Any) -> NDArray[np.bool_]:
        if isinstance(result, pd.Series):
            result = result.fillna(False)
        return np.broadcast_to(np.asarray(result, dtype=bool), (len(self.frame),))

    def _column(self, node: ast.Name) -> pd.Series:
        if node.id not in self.frame.columns:
            hint = nearest(node.id, map(str, self.frame.columns))
            raise DataError(f'--where "{self.text}": no column "{node.id}"; {hint}')
        return self.frame[node.id]

    def _flag(self, node: ast.Name) -> NDArray[np.bool_]:
        column = self._column(node)
        if pd.api.types.infer_dtype(column, skipna=True) != "boolean":
            raise self._refusal(
                node, "is not a column of true and false; compare it with something"
            )
        return self._mask(column.astype(object))

    def _number(self, node: ast.expr) -> Any:
        value = self.value(node)
        numeric = (
            pd.api.types.is_numeric_dtype(value)
            if isinstance(value, pd.Series)
            else isinstance(value, int | float)
        )
        if not numeric:
            raise self._refusal(node, "is not a number")
        return value

    def _refusal(self, node: ast.expr, why: str) -> DataError:
        part = ast.get_source_segment(self.text, node) or self.text
        return DataError(
            f'--where "{self.text}": "{part}" at character {node.col_offset + 1} {why}; '
            f"the language has {_GRAMMAR}"
        )


def _all(masks: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    combined: NDArray[np.bool_] = np.logical_and.reduce(list(masks))
    return combined


def _any(masks: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    combined: NDArray[np.bool_] = np.logical_or.reduce(list(masks))
    return combined


def _compared(left: Any, op: ast.cmpop, right: Any) -> Any:
    if isinstance(op, ast.Eq | ast.NotEq) and (left is None or right is None):
        missing = np.asarray(pd.isna(left if right is None else right))
        return missing if isinstance(op, ast.Eq) else ~missing
    return _COMPARISONS[type(op)](left, right)
