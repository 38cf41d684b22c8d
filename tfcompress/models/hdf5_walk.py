"""Walks through an HDF5 file without following its links, with little memory.

An HDF5 file can name other files as the place of its values, claim values that it doesn't hold,
and give one array many names. The HDF5 library obliges, and its parser may crash on a damaged
file. `tfcompress.models.hdf5` therefore runs this as `python -m tfcompress.models.hdf5_walk`
before Keras reads a file; `tfcompress.runtime.child` has the protocol.
"""

from __future__ import annotations

import math
import mmap
import posixpath
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.bounded_json import MOST_BYTES
from tfcompress.models.hdf5 import most_unpacked_bytes
from tfcompress.runtime import child

if TYPE_CHECKING:
    import h5py

# What Keras writes has some thousands of groups, arrays and attributes.
MOST_OBJECTS = 200_000
# What the process may take beyond what it has with NumPy and h5py loaded.
_MEMORY_BYTES = 256 * 2**20
_MEMORY_SIZES = 4

# zlib, shuffle, Fletcher's checksum and LZF. HDF5 looks for others in folders of plugins.
_FILTERS = (1, 2, 3, 32000)
# Attributes with names. Long lists of them are cut in parts, numbered from 0.
_NAMES = ("layer_names", "weight_names")


class _RefusedError(ValueError):
    """Says what in a file could do harm, and where."""


def _look(request: Mapping[str, Any], report: child.Reporter) -> dict[str, Any]:
    """Checks the file of a request, with little memory.

    Returns:
        `refused` or `damaged`: why, else None; and `config`, the text of the attribute that is
        asked for.
    """
    import h5py

    path = Path(request["paths"][0])
    report.stage("look", str(path))
    size = path.stat().st_size
    if taken := _taken_bytes():
        child.limit_memory(taken + _MEMORY_BYTES + _MEMORY_SIZES * size)
    answer: dict[str, Any] = {"refused": None, "damaged": None, "config": None}
    try:
        with h5py.File(path, "r") as file:
            answer["config"] = _Walk(file, size).run(request["attribute"])
    except _RefusedError as error:
        answer["refused"] = str(error)
    except Exception as error:  # HDF5's errors become many types.
        if isinstance(error, MemoryError) or "memory allocation failed" in str(error):
            answer["refused"] = "its attributes take more memory than its size explains"
        else:
            answer["damaged"] = child.one_line(error).partition(": ")[2]
    return answer


def _taken_bytes() -> int:
    """Returns the address space of this process; 0 if the system doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 0
    return pages * mmap.PAGESIZE


class _Walk:
    """Visits each group, array and attribute of a file once.

    Args:
        file: the file.
        file_bytes: its size.
    """

    def __init__(self, file: h5py.File, file_bytes: int) -> None:
        self._file = file
        self._file_bytes = file_bytes
        self._objects = 0
        self._addresses: set[int] = set()
        self._stored_bytes = 0
        self._unpacked_bytes = 0
        self._named: set[tuple[str, str]] = set()

    def run(self, attribute: str = "model_config") -> str | None:
        """Returns the text of one of the file's attributes, such as the model's configuration.

        Raises:
            _RefusedError: something in the file could do harm.
        """
        import h5py

        pending = [(self._file.id, "/")]
        self._addresses.add(h5py.h5o.get_info(self._file.id).addr)
        while pending:
            group, path = pending.pop()
            self._check_attributes(group, path)
            for name in self._links(group, path):
                where = posixpath.join(path, name.decode("utf-8", "backslashreplace"))
                item = self._open(group, name, where)
                if isinstance(item, h5py.h5g.GroupID):
                    pending.append((item, where))
                elif isinstance(item, h5py.h5d.DatasetID):
                    self._check_array(item, where)
        return self._text(attribute)

    def _listed(self, iterate: Callable[..., object], *arguments: object) -> list[bytes]:
        """Returns the names that a function of HDF5 goes through."""
        names: list[bytes] = []

        def add(name: bytes, *_: object) -> bool | None:
            names.append(name)
            # True ends it. An error can't be raised through HDF5.
            return True if self._objects + len(names) > MOST_OBJECTS else None

        iterate(*arguments, add)
        self._objects += len(names)
        if self._objects > MOST_OBJECTS:
            raise _RefusedError(f"it has more than {MOST_OBJECTS} groups, arrays and attributes")
        return names

    def _links(self, group: h5py.h5g.GroupID, path: str) -> Iterator[bytes]:
        """Yields the names in a group, without following any."""
        import h5py

        for name in self._listed(group.links.iterate):
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                where = posixpath.join(path, name.decode("utf-8", "backslashreplace"))
                raise _RefusedError(f"'{where}' is a link, which Keras never writes")
            yield name

    def _open(self, group: h5py.h5g.GroupID, name: bytes, where: str) -> h5py.h5g.ObjectID:
        """Opens an object that has no other name."""
        import h5py

        item = h5py.h5o.open(group, name)
        address = h5py.h5o.get_info(item).addr
        if address in self._addresses:
            raise _RefusedError(f"'{where}' is a second name of something else in it")
        self._addresses.add(address)
        return item

    def _check_array(self, array: h5py.h5d.DatasetID, where: str) -> None:
        """Refuses an array that isn't in this file alone, or isn't all there."""
        import h5py

        # First, and before its shape is asked for: that of a virtual array is read from others.
        creation = array.get_create_plist()
        if creation.get_external_count():
            raise _RefusedError(f"the values of '{where}' are in another file (external storage)")
        if creation.get_layout() == h5py.h5d.VIRTUAL:
            raise _RefusedError(f"the values of '{where}' are in other arrays (virtual storage)")
        self._check_attributes(array, where)
        if not _is_plain(array.get_type()):
            raise _RefusedError(f"'{where}' holds other things than numbers of one size")
        filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
        if strange := [number for number in filters if number not in _FILTERS]:
            raise _RefusedError(f"'{where}' is packed by filter {strange[0]}, which isn't known")
        item_bytes = array.get_type().get_size()
        unpacked = math.prod(array.shape) * item_bytes
        stored = array.get_storage_size()
        if not filters and unpacked > stored:
            raise _RefusedError(f"'{where}' claims {unpacked} bytes and has {stored}")
        if creation.get_layout() == h5py.h5d.CHUNKED:
            unpacked = max(unpacked, math.prod(creation.get_chunk()) * item_bytes)
        self._stored_bytes += stored
        self._unpacked_bytes += unpacked
        most = most_unpacked_bytes(self._file_bytes)
        if self._stored_bytes > self._file_bytes or self._unpacked_bytes > most:
            raise _RefusedError(
                f"its arrays up to '{where}' claim {self._unpacked_bytes} bytes, more than a file "
                f"of {self._file_bytes} bytes may"
            )

    def _check_attributes(self, item: h5py.h5g.ObjectID, where: str) -> None:
        """Reads an object's attributes, and refuses names that lead to one array twice."""
        import h5py

        attributes = h5py.AttributeManager(_Holder(item))
        for name in sorted(self._listed(h5py.h5a.iterate, item)):
            # All are read: a list of texts may be small in the file and huge in memory.
            value = attributes[name]
            kind = name.decode("utf-8", "replace").rstrip("0123456789")
            for each in value if kind in _NAMES else ():
                text = each.decode("utf-8", "backslashreplace") if isinstance(each, bytes) else each
                parts = posixpath.join(where, str(text)).split("/")
                full = "/" + "/".join(part for part in parts if part not in ("", "."))
                if (kind, full) in self._named:
                    raise _RefusedError(f"the {kind} of '{where}' name '{full}' twice")
                self._named.add((kind, full))

    def _text(self, attribute: str) -> str | None:
        """Returns the text of an attribute, if it has a sensible length."""
        text = self._file.attrs.get(attribute)
        if text is None:
            return None
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not isinstance(text, str):
            raise ValueError(f"its {attribute} is no text")
        if len(text) > MOST_BYTES:
            raise _RefusedError(f"its {attribute} has more than {MOST_BYTES} characters")
        return text


class _Holder:
    """Stands for an object where h5py wants one with an `id`."""

    def __init__(self, item: h5py.h5g.ObjectID) -> None:
        self.id = item


def _is_plain(kind: h5py.h5t.TypeID) -> bool:
    """Returns whether values of an HDF5 type are all of one size and refer to nothing else."""
    import h5py

    if kind.get_class() == h5py.h5t.COMPOUND:  # Complex numbers.
        return all(_is_plain(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    if kind.get_class() == h5py.h5t.STRING:
        return not kind.is_variable_str()
    return kind.get_class() in (
        h5py.h5t.INTEGER,
        h5py.h5t.FLOAT,
        h5py.h5t.ENUM,
        h5py.h5t.BITFIELD,
        h5py.h5t.OPAQUE,
    )


if __name__ == "__main__":
    sys.exit(child.serve({"hdf5": _look}))
