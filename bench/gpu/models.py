"""Networks of the GPU's suite, each one definition of which any library's layers make a model."""

from __future__ import annotations

from typing import Any

from staticnet.cli.networks import AVERAGE, FLATTEN, RELU, Layer, Layers, Residual, normalised
from staticnet.cli.text_networks import transformer_block


def bottlenecks(widths: tuple[int, ...], counts: tuple[int, ...], classes: int) -> Layers:
    """ResNet-50 with widths (64, 128, 256, 512) and counts (3, 4, 6, 3).

    He et al., "Deep residual learning for image recognition", 2016, table 1, the stride in the
    convolution of 3 by 3.  [b, 3, h, w] -> [b, classes]
    """
    blocks: list[Residual] = []
    n = widths[0]
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
        for number in range(count):
            stride, m = 2 if stage and not number else 1, 4 * width
            body = (
                *normalised(n, width, 1), RELU, *normalised(width, width, 3, stride), RELU,
                *normalised(width, m, 1),
            )  # fmt: skip
            changes = n != m or stride > 1
            blocks.append(Residual(body, normalised(n, m, 1, stride) if changes else ()))
            n = m
    pool = Layer("MaxPool2d", (3,), {"stride": 2, "padding": 1})
    first = (*normalised(3, widths[0], 7, 2), RELU, pool)
    return (*first, *blocks, AVERAGE, FLATTEN, Layer("Linear", (n, classes)))


def vision_transformer(
    nn: Any, image: int, patch: int, width: int, heads: int, layers: int, classes: int
) -> Any:
    """ViT-B/16 with 224, 16, 768, 12 and 12; the mean of all patches is classified.

    Dosovitskiy et al., "An image is worth 16x16 words", 2021; Beyer et al., "Better plain ViT
    baselines for ImageNet-1k", 2022.  [b, 3, image, image] -> [b, classes]
    """
    patches = (image // patch) ** 2

    class VisionTransformer(nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, width, patch, stride=patch)
            self.positions = nn.Embedding(patches, width)
            self.blocks = nn.Sequential(
                *(transformer_block(nn, width, heads, causal=False) for _ in range(layers))
            )
            self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

        def forward(self, x: Any) -> Any:
            h = self.patches(x).reshape((x.shape[0], width, patches)).swapaxes(1, 2)
            return self.head(self.ln_f(self.blocks(h + self.positions.weight)).mean(1))

    return VisionTransformer()
