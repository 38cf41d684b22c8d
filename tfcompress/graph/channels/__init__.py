"""Cuts whole channels out of functional models, through whatever the channels pass."""

from tfcompress.graph.channels.groups import ChannelGraph, Group, Slice, channel_groups, keep

__all__ = ["ChannelGraph", "Group", "Slice", "channel_groups", "keep"]
