"""Counts and FLOPs: against hand-made numbers, and against published ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.flops import CnnShape, TransformerShape, six_nd

TINY = TransformerShape(vocab=10, context=3, width=4, depth=2, heads=2, hidden=16)


def test_groups_of_a_model_counted_by_hand():
    count = TINY.params()
    assert (count.embedding, count.attention, count.mlp, count.head) == (40, 128, 256, 40)
    assert count.non_embedding == 384
    assert count.total == 464


def test_flops_by_layer_counted_by_hand():
    layers = TINY.forward_flops_per_token()
    assert next(iter(layers)) == "block 0 projections"
    assert list(layers)[-1] == "head"
    assert layers["block 1 projections"] == 2 * 4 * 4 * 4
    assert layers["block 1 scores"] == 2 * 2 * 3 * 4
    assert layers["block 1 mlp"] == 2 * 2 * 4 * 16
    assert layers["head"] == 2 * 4 * 10
    assert TINY.training_flops_per_token() == 3 * (2 * (128 + 48 + 256) + 80)


def test_gpt2_small_has_the_known_number_of_matrix_parameters():
    shape = TransformerShape(vocab=50257, context=1024, width=768, depth=12, heads=12, hidden=3072)
    # 124.4M with tied embedding, positions (0.8M) and biases and gains (0.1M)
    assert shape.params().non_embedding == 84_934_656
    assert shape.params().embedding == shape.params().head == 38_597_376


@given(
    width=st.integers(1, 2048),
    depth=st.integers(1, 64),
    hidden=st.integers(1, 8192),
    vocab=st.integers(2, 100_000),
    context=st.integers(1, 4096),
)
def test_exact_flops_are_the_rule_of_palm(width, depth, hidden, vocab, context):
    shape = TransformerShape(
        vocab=vocab, context=context, width=width, depth=depth, heads=1, hidden=hidden
    )
    count = shape.params()
    attention = 12 * depth * width * context
    palm = six_nd(count.total - count.embedding, 1) + attention
    assert shape.training_flops_per_token() == pytest.approx(palm, rel=1e-12)
    assert count.total == sum((count.embedding, count.attention, count.mlp, count.head))


def test_six_nd_of_chinchilla():
    # Hoffmann et al. 2022, table A9: 70B parameters, 1.4T tokens, about 5.76e23
    assert six_nd(70e9, 1.4e12) == pytest.approx(5.88e23)


def test_a_cnn_counted_by_hand():
    shape = CnnShape(side=9, channels=3, classes=7, width=4, depth=3)
    assert shape.sides == (9, 9, 5)
    count = shape.params()
    assert (count.convolution, count.head) == (9 * (3 * 4 + 2 * 4 * 4), 28)
    assert (count.non_embedding, count.total) == (396, 424)
    assert shape.forward_flops_per_token() == {
        "convolution 0": 2 * 9 * 3 * 4 * 81,
        "convolution 1": 2 * 9 * 4 * 4 * 81,
        "convolution 2": 2 * 9 * 4 * 4 * 25,
        "head": 2 * 4 * 7,
    }
    # pixels need no gradient, so the first layer costs two forward passes and not three
    assert shape.training_flops_per_token() == 2 * 17496 + 3 * (23328 + 7200 + 56)
    assert shape.context == 1


@pytest.mark.parametrize(
    ("side", "depth", "sides"),
    [
        (8, 1, (8,)),
        (8, 2, (8, 4)),
        (12, 4, (12, 12, 6, 6)),
        (32, 2, (32, 16)),
        (32, 4, (32, 16, 8, 4)),
        (32, 8, (32, 32, 16, 16, 8, 8, 4, 4)),
        (3, 5, (3, 3, 3, 3, 3)),
    ],
)
def test_the_side_of_an_image_is_halved_at_even_distances(side, depth, sides):
    assert CnnShape(side=side, channels=1, classes=2, width=2, depth=depth).sides == sides
