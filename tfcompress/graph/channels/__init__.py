"""Cuts whole channels out of functional models, through whatever the channels pass."""

from tfcompress.graph.channels.groups import ChannelGraph, channel_groups, keep
from tfcompress.graph.channels.parts import Group, Slice

__all__ = ["ChannelGraph", "Group", "Slice", "channel_groups", "keep"]
