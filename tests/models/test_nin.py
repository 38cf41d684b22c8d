from keras import layers

from tfcompress import graph, models

# Kernel size, channels, filters and image size of the nine convolutions.
CONVS = [
    *[(5, 3, 192, 32), (1, 192, 160, 32), (1, 160, 96, 32)],
    *[(5, 96, 192, 16), (1, 192, 192, 16), (1, 192, 192, 16)],
    *[(3, 192, 192, 8), (1, 192, 192, 8), (1, 192, 10, 8)],
]


def test_counts():
    model = models.build("nin", (32, 32, 3), 10)
    weights = [k * k * channels * filters for k, channels, filters, _ in CONVS]
    biases = sum(filters for _, _, filters, _ in CONVS)
    assert sum(weights) + biases == 966_986
    scales = 2 * (biases - 10)
    assert graph.parameters(model) == 966_986 + scales == 969_802
    products = sum(w * size * size for w, (*_, size) in zip(weights, CONVS, strict=True))
    assert graph.macs(model) == products == 222_486_528


def test_width_and_size():
    model = models.build("nin", (40, 24, 1), 7, width=0.5, dropout=0.1)
    assert model.output_shape == (None, 7)
    assert model.get_layer("block1_conv2").filters == 80
    assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.1, 0.1]
    assert not [layer for layer in model.layers if isinstance(layer, layers.Dense)]


def test_maximum_after_the_first_block_and_mean_after_the_second():
    model = models.build("nin", (32, 32, 3), 10)
    pools = [model.get_layer(f"block{block}_pool") for block in (1, 2)]
    assert [type(pool) for pool in pools] == [layers.MaxPooling2D, layers.AveragePooling2D]
    assert {(pool.pool_size, pool.strides, pool.padding) for pool in pools} == {
        ((3, 3), (2, 2), "same")
    }
