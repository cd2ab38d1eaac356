"""`cifar_lenet`, `cifar_bn` and `resnet18`: convolutional networks learn to classify CIFAR-10."""

from __future__ import annotations

from bench.networks import ImageNetwork

SLOW, FAST = ({"lr": lr, "momentum": 0.9} for lr in (0.001, 0.01))

CIFAR_LENET = ImageNetwork("cifar_lenet", 64, 10, SLOW).workload(
    "2 convolutions of 5 x 5, pools, 3 linear layers, batch 64, SGD with momentum", rtol=1e-4
)
CIFAR_BN = ImageNetwork("cifar_bn", 64, 10, FAST).workload(
    "6 convolutions of 3 x 3 with batch norm, batch 64, SGD with momentum", rtol=1e-2
)
RESNET18 = ImageNetwork("resnet18", 32, 4, SLOW).workload(
    "ResNet-18 for images of 32 x 32, batch 32, SGD with momentum", rtol=5e-2
)
