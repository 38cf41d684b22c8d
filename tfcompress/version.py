"""The package's version, for setup.cfg and for the files that name it."""

VERSION = "0.1.0"
