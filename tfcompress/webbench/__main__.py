"""The command `python -m tfcompress.webbench`: files in, a page out."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcompress import commands, files
from tfcompress.errors import InputError, require
from tfcompress.webbench.page import make_page
from tfcompress.webbench.serve import make_server

USAGE = """Makes a page that times .tflite files in a browser, on WebAssembly and on WebGPU.

  python -m tfcompress.webbench baseline.tflite compressed.tflite --out=bench.html
  python -m tfcompress.webbench m.tflite --out=bench.html --serve
  python -m tfcompress.webbench m.tflite --out=bench.html --serve --host=0.0.0.0 --port=8000

The page holds the files and LiteRT.js, which is fetched from the npm registry once and verified by
its hash. Open it in any browser and press Run: files run in turns, and one whose outputs aren't the
CPU's has no time. With --serve the results are printed here too, as JSON, and the page's address is
printed with a secret in it: only who has it gets the page or sends results. A phone in the same
network needs --host=0.0.0.0, and has WebAssembly only: browsers keep WebGPU from pages over http,
and the network's owner can read along. Whoever reads the page can take the files out of it. Exit
status: 0 done, 2 bad usage or a bad file.

Flags:"""


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_string("out", "bench.html", "the page (default bench.html)", flag_values=values)
    flags.DEFINE_integer("runs", 50, "timed inferences, at least (default 50)", flag_values=values)
    flags.DEFINE_float(
        "min_seconds", 1.0, "and for so long, at least (default 1)", flag_values=values
    )
    flags.DEFINE_boolean(
        "compatible", False, "for browsers without relaxed SIMD; slower", flag_values=values
    )
    flags.DEFINE_boolean("serve", False, "serve the page until Ctrl-C", flag_values=values)
    flags.DEFINE_string(
        "host", "127.0.0.1", "address to serve on (default this machine)", flag_values=values
    )
    flags.DEFINE_integer("port", 0, "port to serve on (default a free one)", flag_values=values)
    return values


def run(argv: Sequence[str]) -> None:
    """Parses the flags, makes the page, serves it if asked to.

    Raises:
        InputError: bad usage, a bad file, or LiteRT.js can't be downloaded.
    """
    values = parser()
    paths = commands.parse_arguments(values, argv, USAGE)
    if paths is None:
        return
    require(len(paths) > 0, "give the path of at least one .tflite file; see --help")
    out = pathlib.Path(values.out)
    folder = out.absolute().parent
    require(folder.is_dir(), f"--out: the folder {folder} doesn't exist")
    text = make_page(
        paths, runs=values.runs, min_seconds=values.min_seconds, compatible=values.compatible
    )
    try:
        files.write(out, text)
    except OSError as error:
        raise InputError(f"--out: {out} can't be written: {error.strerror or error}") from error
    print(f"{out}: {len(text) / 2**20:.1f} MiB; open it in a browser", flush=True)
    if values.serve:
        _serve(text, values.host, values.port)


def _serve(text: str, host: str, port: int) -> None:
    """Serves the page until Ctrl-C."""
    try:
        server = make_server(text, host, port, _print_result)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(f"--serve: {host}:{port} can't be used: {error}") from error
    with server:
        print("\n".join(server.addresses()), " (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _print_result(report: dict[str, Any]) -> None:
    """Prints a browser's result; as JSON, no escapes of the terminal are in it."""
    print(json.dumps(report), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
