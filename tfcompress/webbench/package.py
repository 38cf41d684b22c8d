"""Downloads LiteRT.js from the npm registry once, and verifies it at each use.

Google publishes it under the Apache-2.0 licence, and it is no part of this package. Versions and
their SHA-512 are pinned here, so that neither the registry nor the cache can put other code in.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tfcompress import files
from tfcompress.errors import InputError

_REGISTRY = "https://registry.npmjs.org"
_TIMEOUT_S = 60.0
_MAX_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Package:
    """A version of an npm package.

    Attributes:
        name: its name in the registry.
        version: the version.
        integrity: the base64 of its tarball's SHA-512, as npm writes it.
    """

    name: str
    version: str
    integrity: str

    @property
    def file_name(self) -> str:
        """Returns the tarball's name in the registry."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def url(self) -> str:
        """Returns the tarball's address."""
        return f"{_REGISTRY}/{self.name}/-/{self.file_name}"


CORE = Package(
    "@litertjs/core",
    "2.5.3",
    "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
)
WASM_UTILS = Package(
    "@litertjs/wasm-utils",
    "2.5.3",
    "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
)


def cache() -> Path:
    """Returns the folder that keeps tarballs."""
    return files.user_cache() / "npm"


def read_files(package: Package, members: Sequence[str]) -> list[bytes]:
    """Reads files of a package, which is downloaded if it isn't in the cache.

    Args:
        package: the package and its version.
        members: the files' paths, without npm's leading `package/`.

    Raises:
        InputError: the package isn't in the cache and can't be downloaded, or it isn't the one that
            was pinned.
    """
    path = cache() / package.file_name
    content = path.read_bytes() if path.is_file() else None
    if content is None or not _genuine(content, package):
        # A file that was spoilt in the cache is replaced.
        content = _download(package)
        if not _genuine(content, package):
            raise InputError(
                f"{package.url} isn't the file that was looked at: its SHA-512 is another one"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, content)
    contents = []
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in members:
            file = archive.extractfile(f"package/{member}")
            assert file is not None, member
            contents.append(file.read())
    return contents


def _genuine(content: bytes, package: Package) -> bool:
    """Tells whether the bytes are the package's."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == package.integrity


def _download(package: Package) -> bytes:
    """Downloads the tarball from the registry."""
    try:
        with urllib.request.urlopen(package.url, timeout=_TIMEOUT_S) as answer:
            return answer.read(_MAX_BYTES)
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"{package.url} can't be downloaded ({reason}); where there is a network, fetch it and "
            f"put it into {cache()}"
        ) from error
