"""A tour of staticnet, from `x + 1` to a trained network. Run it: `python docs/tour.py`.

Every stage prints what it made, so that what is said here can be seen. Read it beside its output.
"""

# ---------------------------------------------------------------------------------------------
# 1. A graph is declared, not run.
#
# A placeholder is an input. Operators on it make nodes; a node knows its op, its operands and its
# type, and nothing is computed. A string in the shape is a symbolic dimension.

import numpy as np

import staticnet as sn

x = sn.placeholder(("batch", 3), "float32", name="x")
y = x + 1
print("1.", repr(y), "was made by", y.op)

# Equal expressions are one node. That is why there is no separate search for common
# subexpressions later: they cannot exist.

assert x + 1 is y

# ---------------------------------------------------------------------------------------------
# 2. A graph has a text form, and the text is the graph.

graph = sn.Graph("plus_one", [x], [y])
print("\n2. The text of a graph:")
print(graph)
assert sn.parse(str(graph)) is graph

# ---------------------------------------------------------------------------------------------
# 3. Shapes are inferred as it is built, symbolic dimensions included, and a mistake is found on
#    the line that makes it.

print("\n3. Types:", sn.concat([x, x]).type, sn.sum(x, 1).type, sn.reshape(x, -1).type)
try:
    x + np.ones((3, 2), np.float32)
except sn.errors.ShapeError as error:
    print("   A mistake:", error)

# ---------------------------------------------------------------------------------------------
# 4. A function compiles a graph. Fixed shapes compile at once, symbolic ones once for each binding.

f = sn.function(x, y, name="plus_one")
print("\n4.", f)
print(f(np.zeros((2, 3), np.float32)))
print("   specialised for", f.specializations)

# ---------------------------------------------------------------------------------------------
# 5. Derivatives are graphs, too. Reverse mode walks the graph once from the loss, asks each op for
#    its vector-Jacobian product, and so writes a graph that prints, and differentiates, again.

t = sn.placeholder((), "float64", name="t")
wave = sn.sin(t) * t
(slope,) = sn.grad(wave, [t])
(bend,) = sn.grad(slope, [t])
print("\n5. d/dt (t sin t):")
print(sn.Graph("slope", [t], [slope]))
at_two = sn.function(t, [slope, bend])(2.0)
print("   at t = 2:", [round(float(v), 6) for v in at_two])
np.testing.assert_allclose(at_two[0], np.sin(2) + 2 * np.cos(2))
np.testing.assert_allclose(at_two[1], 2 * np.cos(2) - 2 * np.sin(2))

# Each node of a derivative remembers whose it is.

made_by, line = slope.provenance.made_by, slope.provenance.lines[0].line
print("   the slope's last node is the", made_by, "of line", line)

# A function of one example is made one of many by `vmap`: each op has a rule for that, too. What f
# holds may be a gradient; a Jacobian is made of it, a row or a column for each example.

rates = sn.placeholder((3,), "float64", name="rates")
slopes = sn.vmap(lambda r: sn.grad(sn.exp(r * t), [t])[0])(rates)
columns = sn.jacobian(sn.exp(rates * t), rates)
both = sn.function([t, rates], [slopes, columns])(0.5, np.arange(3.0))
np.testing.assert_allclose(both[0], np.arange(3) * np.exp(np.arange(3) * 0.5))
np.testing.assert_allclose(both[1], np.diag(0.5 * np.exp(np.arange(3) * 0.5)))
print("   a slope for each of three:", [round(float(v), 6) for v in both[0]])

# ---------------------------------------------------------------------------------------------
# 6. State is a variable; an update says which value it takes after the run.

count = sn.variable(np.int64(0), "count")
tick = sn.function([], count, updates={count: count + 1}, name="tick")
print("\n6. A counter:", [int(tick()) for _ in range(3)], "and its value now:", int(count.value))

# ---------------------------------------------------------------------------------------------
# 7. A network is functions of variables. Layers have PyTorch's names, arguments and defaults.

sn.manual_seed(0)
model = sn.nn.Sequential(sn.nn.Linear(2, 8), sn.nn.Tanh(), sn.nn.Linear(8, 1))
print("\n7.", model)
print(model.summary())

# ---------------------------------------------------------------------------------------------
# 8. A training step is one graph: forward, loss, gradients and the optimizer's formula together.
#    The optimizer runs nothing; it says what each variable will be.

points = sn.placeholder(("batch", 2), "float32", name="points")
label = sn.placeholder(("batch", 1), "float32", name="label")
loss = sn.nn.binary_cross_entropy_with_logits(model(points), label)
updates = sn.optim.SGD(lr=0.5).minimize(loss)
step = sn.function([points, label], loss, updates=updates, name="step")
print("\n8. The step as declared has", len(step.graph.nodes), "nodes.")

# ---------------------------------------------------------------------------------------------
# 9. Passes are functions from graph to graph, in one fixed order, and each says what it did.

print("\n9. The passes, for a batch of 64:")
for record in step.passes(batch=64):
    notes = ", ".join(f"{name} x{count}" for name, count in record.notes.items())
    print(f"   {record.name:<20} {record.before:>4} -> {record.after:<4} nodes  {notes}")

# The result is still text. Here is the update of the last bias, and all that it needs.

optimised = step.passes(batch=64)[-1].graph
bias, value = next(pair for pair in optimised.updates if pair[0].name == "2.bias")
print(sn.Graph("bias_update", optimised.inputs, [], ((bias, value),)))

# ---------------------------------------------------------------------------------------------
# 10. What it costs is known before it runs, as a formula in the symbolic dimensions.

cost = step.cost_analysis()
print("\n10. FLOPs of a step:", cost.flops)
print("    for a batch of 64:", step.cost_analysis(batch=64).flops)

# A node knows the module that made it, beside its line: costs, times and bytes add up by layer.

print("    by module, for a batch of 64:")
print(step.cost_analysis(batch=64).by_module())

# So are its bytes, all that lie in memory together. The formula is exact, and can be solved.

memory = step.memory_analysis()
print("    Bytes of a step:", memory.peak)
print("    for a batch of 64:", memory.peak.at(batch=64))
print("    The largest batch in 1 MiB:", step.max_dim("batch", bytes=2**20))
assert memory.peak.at(batch=64) == step.memory_analysis(batch=64).peak

# So is what a compiling device makes of it: nodes share kernels, and each kernel says which, what
# it moves, and why it holds no more.

account = step.explain(batch=64)
print(f"    {account.launches} launches of {len(account.kernels)} kernels. The loss is in this:")
print(next(kernel for kernel in account.kernels if kernel.kind == "rows"))

# ---------------------------------------------------------------------------------------------
# 11. Training is calling it. Two spirals are not linearly separable; the network learns them.

rng = np.random.default_rng(0)
angle = rng.uniform(0, 3, (512, 1)).astype(np.float32)
side = rng.integers(0, 2, (512, 1)).astype(np.float32)
turned = angle + np.float32(np.pi) * side
data = angle / 3 * np.hstack([np.cos(turned), np.sin(turned)])
losses = step.run(2000, data, side, batch_size=64, shuffle=True, seed=0)
predict = sn.function(points, model(points) > 0, name="predict")
accuracy = float(np.mean(predict(data) == (side > 0)))
print(f"\n11. Loss: {losses[0]:.3f} -> {losses[-1]:.3f}; accuracy {accuracy:.3f}")
assert accuracy > 0.95

# Every node on the way can be looked at, as declared and as compiled, and looking changes nothing.

seen = step.probe(updates[bias], data[:64], side[:64])
print(f"    {seen.node} ({seen.line}) is {seen.found}.")
assert seen.kept
assert seen.max_abs < 1e-6

# That is all of it: declare, infer, differentiate, pass by pass, run.
