"""Tables whose steps are sums of rows: they cost what the rows do, and nothing else changes."""

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import OutOfRangeError

COMPILES = True
ROWS, WIDTH = 400, 3
SOME = np.array([[1, -1, 7], [7, 7, 0]])


def table(seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, WIDTH)).astype("float32")


def trained(w, loss, feeds, device, optimizer=None, **options):
    step = (optimizer or sn.optim.SGD(0.5)).minimize(loss, w)
    return sn.function(feeds, [loss], updates=step, device=device, **options)


def reference(w, indices, factor):
    """w less 0.5 of the gradient of sum(factor * w[indices]**2)."""
    slope = np.zeros_like(w)
    np.add.at(slope, indices, 2 * factor * w[indices])
    return w - np.float32(0.5) * slope


def changed(device, axes=("n", 3), exact=False):
    """A table after a step, and the function."""
    w = sn.variable(table(), "w")
    i = sn.placeholder(axes, "int64", name="i")
    loss = sn.sum(sn.take(w, i, axis=0) ** 2) * 0.25
    f = trained([w], loss, [i], device, numerics="exact" if exact else "fast")
    f(SOME)
    return w, f


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("axes", [("n", 3), (2, 3)])
def test_the_step_is_that_of_the_dense_gradient(device, axes):
    w, f = changed(device, axes)
    np.testing.assert_allclose(w.value, reference(table(), SOME, 0.25), rtol=2e-6)
    exact, _ = changed(device, axes, exact=True)
    np.testing.assert_allclose(w.value, exact.value, rtol=2e-6)
    untouched = np.setdiff1d(np.arange(ROWS), SOME % ROWS)
    np.testing.assert_array_equal(w.value[untouched], table()[untouched])
    f.run(3, np.tile(SOME, (3, 1)), batch_size=2)
    expected = table()
    for _ in range(4):
        expected = reference(expected, SOME, 0.25)
    np.testing.assert_allclose(w.value, expected, rtol=1e-5)


def test_a_step_on_a_gpu(gpu):
    w, _ = changed("cuda", (2, 3))
    np.testing.assert_allclose(w.value, changed("numpy", (2, 3))[0].value, rtol=2e-6)


def test_memory_and_traffic_are_those_of_the_rows():
    _, f = changed("cpu", (2, 3))
    whole = ROWS * WIDTH * 4
    assert f.memory_analysis().arena < whole / 4
    kernels = [k for k in f.explain().kernels if "scatter_add" in k.kind]
    assert [len(k.in_place) for k in kernels] == [1]
    assert kernels[0].bytes < whole / 4


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("wrong", [ROWS, -ROWS - 1, 2**40])
def test_a_wrong_index_fails_before_anything_is_written(device, wrong):
    tables = [sn.variable(table(k), f"w{k}") for k in range(3)]
    bias = sn.variable(np.zeros(WIDTH, np.float32), "b")
    i, j = (sn.placeholder((4,), "int64", name=name) for name in "ij")
    rows = sn.take(tables[0], i, axis=0) * sn.take(tables[1], j, axis=0)
    loss = sn.sum(rows[:1] + bias) + sn.sum(sn.take(tables[2], i, axis=0))
    f = trained([*tables, bias], loss, [i, j], device)
    for place in range(4):
        bad = np.array([0, 1, 2, 3])
        bad[place] = wrong
        for feeds in ([bad, np.arange(4)], [np.arange(4), bad]):
            with pytest.raises(OutOfRangeError):
                f(*feeds)
    for k, w in enumerate(tables):
        np.testing.assert_array_equal(w.array, table(k))
    assert not bias.array.any()
    f(np.arange(4), np.arange(4))
    assert bias.array.any()


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize(
    "optimizer",
    [
        sn.optim.SGD(0.5),
        sn.optim.SGD(0.5, momentum=0.9),
        sn.optim.SGD(0.5, weight_decay=0.1),
        sn.optim.Adam(0.1),
        sn.optim.Lion(0.1),
    ],
)
@pytest.mark.parametrize("tied", [False, True])
def test_any_optimizer_gives_what_it_gives_without_the_pass(device, optimizer, tied):
    results = []
    for disabled in ((), ("scatter_updates",)):
        w = sn.variable(table(), "w")
        i = sn.placeholder((2, 3), "int64", name="i")
        y = sn.take(w, i, axis=0)
        loss = sn.mean(sn.tanh(y @ w.T) if tied else y**3)
        f = trained([w], loss, [i], device, optimizer, disabled_passes=disabled)
        results.append([*f(SOME), *f(SOME - 1), w.array.copy()])
    for got, right in zip(*results, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-7)


def test_what_has_more_rows_than_the_table_or_is_read_stays():
    w = sn.variable(table()[:4], "w")
    i = sn.placeholder((9,), "int64", name="i")
    slope = sn.scatter_add(sn.zeros((4, 3)), i, sn.take(sn.constant(table()), i, axis=0))
    read = sn.variable(table(), "read")
    j = sn.placeholder((2,), "int64", name="j")
    big = sn.scatter_add(sn.zeros((ROWS, WIDTH)), j, sn.constant(table()[:2]))
    f = sn.function(
        [i, j], [sn.sum(big)], updates=[(w, w - slope), (read, read - big * 2)], device="cpu"
    )
    (record,) = (r for r in f.passes() if r.name == "scatter_updates")
    assert not record.notes
    f(np.arange(9) % 4, np.array([5, 5]))
    expected = table()
    expected[5] -= 2 * table()[:2].sum(0)
    np.testing.assert_allclose(read.array, expected, rtol=1e-5)


def test_a_scatter_lies_where_its_first_operand_lay():
    x = sn.placeholder((1000,), name="x")
    i = sn.placeholder((5,), "int64", name="i")
    u = sn.placeholder((5,), name="u")
    y = sn.scatter_add(sn.tanh(x), i, u)
    z = sn.scatter_add_along_axis(sn.cumulative_prod(y, axis=0), i, u, axis=0)
    f = sn.function([x, i, u], sn.flip(z, axis=0), device="cpu")
    n = sn.function([x, i, u], sn.flip(z, axis=0), device="numpy")
    feeds = table().ravel()[:1000], np.array([3, 3, -1, 999, 0]), np.ones(5, np.float32)
    np.testing.assert_allclose(f(*feeds), n(*feeds), rtol=1e-5)
    assert f.memory_analysis().arena < 2.5 * 4000
