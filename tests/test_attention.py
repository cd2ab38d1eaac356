"""Attention against PyTorch's in float64: forward, gradient, second order, over all options."""

import itertools

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

rng = np.random.default_rng(0)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def mask_of(kind, rows, keys):
    """A mask whose second row has no key."""
    keep = rng.random((rows, keys)) > 0.4
    keep[1] = False
    return {
        "none": None,
        "bool": keep,
        "float": np.where(keep, rng.normal(size=keep.shape), -np.inf),
        "heads": rng.random((3, 1, keys)) > 0.3,
        "batch": rng.normal(size=(2, 1, rows, keys)),
    }[kind]


def cases():
    """(shapes of query, key and value, mask, options)"""
    for rows, keys in itertools.product((1, 5), (1, 6)):
        for causal, scale in itertools.product((False, True), (None, 0.3)):
            yield ((2, 3, rows, 4), (2, 3, keys, 4), (2, 3, keys, 2)), None, {
                "is_causal": causal, "scale": scale,
            }  # fmt: skip
    for kind in ("bool", "float", "heads", "batch"):
        mask = mask_of(kind, 5, 6)
        yield ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 3)), mask, {}
    for causal in (False, True):
        yield ((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 3)), None, {
            "is_causal": causal, "enable_gqa": True,
        }  # fmt: skip
    yield ((5, 4), (6, 4), (6, 3)), None, {}
    yield ((3, 5, 4), (3, 6, 4), (3, 6, 3)), mask_of("bool", 5, 6), {}
    yield ((2, 3, 5, 4), (2, 1, 6, 4), (1, 6, 3)), None, {}
    yield ((2, 2, 3, 5, 4), (2, 2, 3, 6, 4), (2, 2, 3, 6, 3)), mask_of("bool", 5, 6), {}


def test_it_is_pytorchs_to_the_second_order(torch):
    f = torch.nn.functional.scaled_dot_product_attention
    for shapes, mask, options in cases():
        arrays = [rng.normal(size=shape) for shape in shapes]
        tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
        y = f(*tensors, None if mask is None else torch.tensor(mask), **options)
        first = torch.autograd.grad((y * y).sum(), tensors, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), tensors)
        nodes = [sn.placeholder(x.shape, "float64") for x in arrays]
        ours = nn.scaled_dot_product_attention(*nodes, mask, **options)
        grads = sn.grad(sn.sum(ours * ours), nodes)
        twice = sn.grad(sum(sn.sum(g * g) for g in grads), nodes)
        got = sn.function(nodes, [ours, *grads, *twice])(*arrays)
        for x, wanted in zip(got, (y, *first, *second), strict=True):
            np.testing.assert_allclose(x, wanted.detach().numpy(), rtol=1e-9, atol=1e-11)


def test_a_query_without_keys_gives_zeros():
    q, k = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))
    y = sn.function([], nn.scaled_dot_product_attention(q, k, k, np.zeros((3, 5), bool)))()
    np.testing.assert_array_equal(y, np.zeros((2, 3, 4)))
    y = sn.function([], nn.scaled_dot_product_attention(q, k[:, :0], k[:, :0]))()
    np.testing.assert_array_equal(y, np.zeros((2, 3, 4)))
    assert nn.scaled_dot_product_attention(q[:, :0], k, k).shape == (2, 0, 4)


def test_batch_and_lengths_may_be_symbolic():
    b, t, s = (sn.Dim(name) for name in "bts")
    shapes = (b, 2, t, 4), (b, 2, s, 4), (b, 2, s, 3)

    def built(shapes):
        nodes = [sn.placeholder(shape) for shape in shapes]
        y = nn.scaled_dot_product_attention(*nodes, is_causal=True)
        return y, sn.function(nodes, [y, *sn.grad(sn.sum(y * y), nodes)])

    y, f = built(shapes)
    assert y.shape == (b, 2, t, 3)
    for sizes in ((2, 3, 5), (1, 4, 2), (0, 3, 3)):
        known = dict(zip((b, t, s), sizes, strict=True))
        fixed = [tuple(known.get(d, d) for d in shape) for shape in shapes]
        arrays = [rng.normal(size=shape).astype("float32") for shape in fixed]
        for x, w in zip(f(*arrays), built(fixed)[1](*arrays), strict=True):
            np.testing.assert_allclose(x, w, rtol=1e-5, atol=1e-6)


def test_dropped_weights_are_those_of_dropout():
    q, k, v = (rng.normal(size=(2, 3, n, 4)) for n in (5, 6, 6))
    key = sn.random.key(3)
    y = nn.scaled_dot_product_attention(q, k, v, dropout_p=0.4, dropout_key=key)
    w = nn.softmax(sn.constant(q) @ np.swapaxes(k, -1, -2) * 0.5)
    w = sn.reshape(nn.dropout(sn.reshape(w, (2, 3, 1, 5, 6)), 0.4, key), w.shape)
    got, wanted = sn.function([], [y, w @ v])()
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def written_out(q, k, v, mask, key, p, causal):
    """The same of plain ops: all weights, and `dropout` of them."""
    groups = k.shape[1]
    q5 = sn.reshape(q, (q.shape[0], groups, -1, *q.shape[2:]))
    s = q5 @ sn.matrix_transpose(k)[:, :, None] / np.sqrt(q.shape[-1])
    keep = np.tri(*s.shape[-2:], dtype=bool) if causal else mask[:, :, None]
    w = nn.dropout(nn.softmax(sn.where(keep, s, -np.inf)), p, key)
    return sn.reshape(w @ v[:, :, None], (*q.shape[:3], v.shape[-1]))


@pytest.mark.parametrize("device", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
def test_dropout_is_that_of_all_weights_to_the_second_order(device):
    """Heads that share keys, more keys than a block has, a number of keys that is no four."""
    key, p = sn.random.key(7, 3), 0.3
    for (heads, groups, rows, keys), causal in itertools.product(
        ((2, 2, 5, 8), (4, 2, 7, 6), (1, 1, 130, 140)), (False, True)
    ):
        shapes = ((2, heads, rows, 4), (2, groups, keys, 4), (2, groups, keys, 3))
        q, k, v = nodes = [sn.placeholder(shape, "float64") for shape in shapes]
        mask = rng.random((2, 1, rows, keys)) > 0.2
        mask[..., 0] = True
        options = {"is_causal": True} if causal else {"attn_mask": mask}
        y = nn.scaled_dot_product_attention(
            q, k, v, dropout_p=p, dropout_key=key, enable_gqa=True, **options
        )
        results = []
        for way in (y, written_out(q, k, v, mask, key, p, causal)):
            first = sn.grad(sn.sum(way * way), nodes)
            results += [way, *first, *sn.grad(sum(sn.sum(g * g) for g in first), nodes)]
        found = sn.function(nodes, results, device=device)(*(rng.normal(size=x) for x in shapes))
        for got, want in zip(found[:7], found[7:], strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * np.abs(want).max())


@pytest.mark.parametrize("own_keys", [False, True])
def test_dropout_of_many_examples_is_each_ones(own_keys):
    keys = sn.random.split(sn.random.key(2), 3)
    x = rng.normal(size=(3, 2, 1, 6, 4))

    def f(x, key):
        y = nn.scaled_dot_product_attention(x, x, x, dropout_p=0.5, dropout_key=key)
        return y, sn.grad(sn.sum(y * y), [x])[0]

    given = keys if own_keys else keys[0]
    many = sn.vmap(f, in_axes=(0, 0 if own_keys else None))(sn.constant(x), given)
    each = [f(sn.constant(x[i]), keys[i if own_keys else 0]) for i in range(3)]
    found = sn.function([], [*many, *(sn.stack(z) for z in zip(*each, strict=True))])()
    for got, want in zip(found[:2], found[2:], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


def test_all_weights_may_be_dropped():
    q = sn.placeholder((1, 1, 3, 4), name="q")
    y = nn.scaled_dot_product_attention(q, q, q, dropout_p=1)
    np.testing.assert_array_equal(sn.function(q, y)(np.ones((1, 1, 3, 4), "f")), np.zeros(y.shape))


def test_16_bits_are_computed_in_float32():
    arrays = [rng.normal(size=(2, 2, n, 8)) for n in (9, 7, 7)]
    for dtype in ("float16", "bfloat16"):
        nodes = [sn.astype(sn.constant(x), dtype) for x in arrays]
        wide = [sn.astype(x, "float32") for x in nodes]
        y, z = nn.scaled_dot_product_attention(*nodes), nn.scaled_dot_product_attention(*wide)
        assert str(y.dtype) == dtype
        got, wanted = sn.function(
            [], [sn.astype(y, "float32"), sn.astype(sn.astype(z, dtype), "float32")]
        )()
        np.testing.assert_allclose(got, wanted, rtol=2**-8)


def test_bad_operands_are_named():
    q, k = sn.placeholder((2, 6, 5, 4)), sn.placeholder((2, 4, 7, 4))
    attention = nn.scaled_dot_product_attention
    with pytest.raises(ShapeError, match="broadcast"):
        attention(q, k, k)
    with pytest.raises(ShapeError, match="6 heads"):
        attention(q, k, k, enable_gqa=True)
    with pytest.raises(ShapeError, match=r"\[\.\.\., t, d\]"):
        attention(q, q[..., :3], q)
    with pytest.raises(ShapeError, match="attn_mask"):
        attention(q, q, q, np.ones((3, 2, 6, 5, 5), bool))
    with pytest.raises(DTypeError, match="attn_mask"):
        attention(q, q, q, np.ones((5, 5), int))
    with pytest.raises(ArgumentError, match="not both"):
        attention(q, q, q, np.ones((5, 5), bool), is_causal=True)
    with pytest.raises(ArgumentError, match="dropout_p"):
        attention(q, q, q, dropout_p=1.5)
    with pytest.raises(DTypeError):
        attention(*[sn.placeholder((2, 3), "int32")] * 3)


DROPOUT = {"dropout_p": 0.2, "dropout_key": sn.random.key(5, 9)}


def compared(device, dtype, shapes, calls):
    """Results and gradients of calls on one device, as float32 or wider."""
    values = np.random.default_rng(1)
    wide = "float64" if dtype == "float64" else "float32"
    nodes = [sn.placeholder(shape, wide) for shape in shapes]
    made = []
    for options in calls:
        narrow = [sn.astype(x, dtype) for x in nodes]
        y = nn.scaled_dot_product_attention(*narrow, **options)
        grads = sn.grad(sn.sum(sn.astype(y, wide) ** 2), narrow)
        made += [sn.astype(z, wide) for z in (y, *grads)]
    arrays = [values.normal(size=shape).astype(wide) for shape in shapes]
    return sn.function(nodes, made, device=device)(*arrays)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 2e-5), *(pytest.param(*x, marks=pytest.mark.slow) for x in (
        ("float64", 1e-13), ("bfloat16", 2e-2), ("float16", 2e-3)))],
)  # fmt: skip
def test_blocks_in_c_are_the_reference(dtype, tolerance):
    """Lengths beyond a block's, features that fill no vector, every kind of mask."""
    keep = rng.random((4, 150, 300)) > 0.5
    keep[:, 7] = False
    wide = "float64" if dtype == "float64" else "float32"
    calls = [
        {"is_causal": True, "enable_gqa": True},
        {"attn_mask": keep, "enable_gqa": True, "scale": 2.0},
        {"is_causal": True, "enable_gqa": True, **DROPOUT},
        {"attn_mask": rng.normal(size=(1, 300)).astype(wide), "enable_gqa": True},
        {"attn_mask": sn.constant(rng.normal(size=(4, 1, 300)), dtype), "enable_gqa": True},
    ]
    for shapes in (
        ((2, 4, 150, 24), (2, 2, 300, 24), (2, 2, 300, 33)),
        ((1, 4, 150, 64), (1, 1, 300, 64), (1, 1, 300, 16)),
    ):
        wanted = compared("numpy", dtype, shapes, calls)
        for got, want in zip(compared("cpu", dtype, shapes, calls), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 2e-5), *(pytest.param(*x, marks=pytest.mark.slow) for x in (
        ("float64", 1e-13), ("bfloat16", 2e-2), ("float16", 2e-3)))],
)  # fmt: skip
def test_few_queries_are_computed_one_by_one(dtype, tolerance):
    """As a decoder has them: with every kind of mask, and features that fill no vector."""
    wide = "float64" if dtype == "float64" else "float32"
    keep = rng.random((4, 3, 300)) > 0.5
    keep[:, 1] = False
    keep[0, 0, :256] = False  # two blocks without a key before one that has some
    added = rng.normal(size=(1, 300)).astype(wide)
    calls = [{}, {"is_causal": True}, {"attn_mask": keep, "scale": 2.0}, {"attn_mask": added}]
    calls = [{"enable_gqa": True, **call} for call in calls]
    shapes = ((2, 4, 3, 24), (2, 2, 300, 24), (2, 2, 300, 33))
    wanted = compared("numpy", dtype, shapes, calls)
    for got, want in zip(compared("cpu", dtype, shapes, calls), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


def test_later_keys_are_left_out_and_nothing_stale_is_read():
    """Blocks on the diagonal, whole and cut; a run before has left NaN in the scratch memory."""
    lengths = [(1, 1), (5, 5), (13, 40), (40, 13), (64, 64), (129, 129), (300, 150), (200, 260)]

    def made(device):
        nodes, outputs = [], []
        for queries, keys in lengths:
            q, k, v = given = [sn.placeholder((1, 1, n, 20)) for n in (queries, keys, keys)]
            y = nn.scaled_dot_product_attention(q, k, v, is_causal=True)
            nodes += given
            outputs += [y, *sn.grad(sn.sum(y * y), given)]
        return sn.function(nodes, outputs, device=device)

    step = made("cpu")
    arrays = [rng.normal(size=x.shape).astype("f") for x in step.graph.inputs]
    step(*(np.full_like(x, np.nan) for x in arrays))
    for got, want in zip(step(*arrays), made("numpy")(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("p", [0, 0.1])
def test_memory_grows_with_the_length_alone(p):
    def total(length):
        q = sn.placeholder((1, 2, length, 16))
        y = nn.scaled_dot_product_attention(q, q, q, is_causal=True, dropout_p=p)
        f = sn.function([q], [y, *sn.grad(sn.sum(y * y), [q])], device="cpu")
        return f.memory_analysis().peak

    assert total(2048) < 2.1 * total(1024)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bits_do_not_depend_on_the_number_of_threads(dtype, set_threads):
    shapes = ((2, 4, 150, 24), (2, 2, 300, 24), (2, 2, 300, 33))
    keep = rng.random((4, 150, 300)) > 0.5
    values = [rng.normal(size=shape).astype("f") for shape in shapes]
    q, k, v = nodes = [sn.placeholder(x.shape) for x in values]
    results = []
    for options in ({"is_causal": True}, {"attn_mask": keep, **DROPOUT}):
        given = (sn.astype(x, dtype) for x in (q, k, v))
        y = nn.scaled_dot_product_attention(*given, **options, enable_gqa=True)
        results += [y, *sn.grad(sn.sum(sn.astype(y * y, "float32")), nodes)]
    step = sn.function(nodes, [sn.astype(x, "float32") for x in results], device="cpu")
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        found.append([y.tobytes() for y in step(*values)])
    assert found[0] == found[1] == found[2]


def test_what_it_works_in_is_in_the_plan():
    """No thread asks for memory; a symbolic step's certificate is that of the step of its sizes."""
    b, t, s = (sn.Dim(name) for name in "bts")

    def step(b, t, s):
        q, k, v = (sn.placeholder((b, 2, n, 20), name=x) for n, x in ((t, "q"), (s, "k"), (s, "v")))
        y = nn.scaled_dot_product_attention(q, k, v)
        return sn.function([q, k, v], [y, *sn.grad(sn.sum(y * y), [q, k, v])], device="cpu")

    symbolic = step(b, t, s)
    for sizes in ({"b": 1, "t": 9, "s": 5}, {"b": 3, "t": 200, "s": 300}):
        plan = step(**sizes).plan
        assert plan.allocations == 0
        block = min(sizes["t"], 128) * 128 * 4
        assert plan.arena_bytes > plan.scratch + block
        assert symbolic.memory_analysis(**sizes).peak == step(**sizes).memory_analysis().peak
