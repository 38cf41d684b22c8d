"""Compressed layers for Keras 3, usable in anybody's model and on any Keras backend."""

from tfcompress.layers import _cluster_weights as _cluster_weights  # Registers its name.
from tfcompress.layers import _fake_quantize_kernel as _fake_quantize_kernel  # Likewise.
from tfcompress.layers.biclustered_conv2d import BiclusteredConv2D
from tfcompress.layers.binary_connect_weights import BinaryConnectWeights
from tfcompress.layers.binary_conv2d import BinaryConv2D
from tfcompress.layers.binary_dense import BinaryDense
from tfcompress.layers.channel_shuffle import ChannelShuffle
from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.layers.codebook_conv2d import CodebookConv2D
from tfcompress.layers.codebook_dense import CodebookDense
from tfcompress.layers.cp_conv2d import CPConv2D
from tfcompress.layers.depthwise_separable import DepthwiseSeparable
from tfcompress.layers.dorefa_weights import DoReFaWeights
from tfcompress.layers.effnet_block import EffNetBlock
from tfcompress.layers.fake_quantize import FakeQuantize
from tfcompress.layers.few_bit_activations import FewBitActivations
from tfcompress.layers.fire import Fire
from tfcompress.layers.hashed_conv2d import HashedConv2D
from tfcompress.layers.hashed_dense import HashedDense
from tfcompress.layers.learned_step_weights import LearnedStepWeights
from tfcompress.layers.lookup_conv2d import LookupConv2D
from tfcompress.layers.low_rank_conv2d import LowRankConv2D
from tfcompress.layers.low_rank_dense import LowRankDense
from tfcompress.layers.min_max_quantize import MinMaxQuantize
from tfcompress.layers.monochromatic_conv2d import MonochromaticConv2D
from tfcompress.layers.nearest_fill2d import NearestFill2D
from tfcompress.layers.perforated_conv2d import PerforatedConv2D
from tfcompress.layers.shift2d import Shift2D
from tfcompress.layers.shift_batch_normalization import ShiftBatchNormalization
from tfcompress.layers.shuffle_unit import ShuffleUnit
from tfcompress.layers.spatial_separable_conv2d import SpatialSeparableConv2D
from tfcompress.layers.ternary_weights import TernaryWeights
from tfcompress.layers.tt_conv2d import TTConv2D
from tfcompress.layers.tt_dense import TTDense
from tfcompress.layers.tucker_conv2d import TuckerConv2D
from tfcompress.layers.wage_weights import WageWeights

__all__ = [
    "BiclusteredConv2D",
    "BinaryConnectWeights",
    "BinaryConv2D",
    "BinaryDense",
    "CPConv2D",
    "ChannelShuffle",
    "ClipWeights",
    "CodebookConv2D",
    "CodebookDense",
    "DepthwiseSeparable",
    "DoReFaWeights",
    "EffNetBlock",
    "FakeQuantize",
    "FewBitActivations",
    "Fire",
    "HashedConv2D",
    "HashedDense",
    "LearnedStepWeights",
    "LookupConv2D",
    "LowRankConv2D",
    "LowRankDense",
    "MinMaxQuantize",
    "MonochromaticConv2D",
    "NearestFill2D",
    "PerforatedConv2D",
    "Shift2D",
    "ShiftBatchNormalization",
    "ShuffleUnit",
    "SpatialSeparableConv2D",
    "TTConv2D",
    "TTDense",
    "TernaryWeights",
    "TuckerConv2D",
    "WageWeights",
]
