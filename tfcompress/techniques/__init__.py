"""Compression techniques, one a file; each file ends in one `TECHNIQUE` value."""

from tfcompress.techniques.base import Candidate, LayerLine, Start, Technique, get, names

__all__ = ["Candidate", "LayerLine", "Start", "Technique", "get", "names"]
