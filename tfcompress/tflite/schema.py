"""Names the numbers of the schema's generated Python."""

from __future__ import annotations

from typing import Any


def names(enumeration: Any) -> dict[int, str]:
    """Returns the name of each number of one of the schema's enumerations, in capitals."""
    return {
        number: name
        for name, number in vars(enumeration).items()
        if isinstance(number, int) and not name.startswith("_")
    }


def op_number(code: Any) -> int:
    """Returns an op code's number in `BuiltinOperator`.

    Numbers above 127 don't fit the field that old files use; the larger of the two is the op.
    """
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
