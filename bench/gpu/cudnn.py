"""What cuDNN's calls take on a GPU, beside kernels of our own, at the sizes of networks:

    python -m bench.gpu.cudnn

Each call that cuDNN may compute in GPT-2's, ViT-B/16's and ResNet-50's training steps, and the time
of every way that compilation tried, the fastest first; "own" are the program's kernels.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import staticnet as sn
from bench.report import duration
from staticnet import nn
from staticnet.backends.cuda.cudnn import find_cudnn

PATIENCE = "60"  # seconds for which ways are timed
Made = tuple[list[Any], list[Any]]


def attention(batch: int, heads: int, rows: int, width: int, causal: bool) -> Made:
    """Inputs and outputs of attention of rows cut in heads, and of its gradient."""
    inputs = [sn.placeholder((batch, rows, heads * width), name=name) for name in "qkv"]

    def cut(x: Any) -> Any:
        return sn.permute_dims(sn.reshape(x, (batch, rows, heads, width)), (0, 2, 1, 3))

    y = nn.scaled_dot_product_attention(*map(cut, inputs), is_causal=causal)
    y = sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), inputs[0].shape)
    return inputs, [y, *sn.grad(sn.sum(y * y), inputs)]


def convolution(batch: int, channels: int, outputs: int, size: int, width: int) -> Made:
    """Inputs and outputs of two convolutions, and of their gradients."""
    x = sn.placeholder((batch, channels, size, size), name="x")
    v = sn.placeholder((outputs, channels, width, width), name="v")
    w = sn.placeholder((outputs, outputs, 3, 3), name="w")
    y = nn.conv2d(nn.relu(nn.conv2d(x, v, padding=width // 2)), w, padding=1)
    return [x, v, w], [y, *sn.grad(sn.sum(y * y), [x, v, w])]


def cases() -> Iterator[Made]:
    """The networks' attentions and convolutions."""
    yield attention(8, 12, 1024, 64, True)
    yield attention(128, 12, 197, 64, False)
    for channels, outputs, size, width in ((64, 64, 56, 3), (256, 128, 28, 1), (512, 512, 7, 3)):
        yield convolution(128, channels, outputs, size, width)


def lines(folder: Path) -> Iterator[str]:
    """What was kept of the ways that were timed, a line a call."""
    for file in sorted(folder.rglob("*.json")):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if "plan" in kept:
            times = sorted(kept["milliseconds"].items(), key=lambda entry: entry[1])
            told = ", ".join(f"{name} {duration(ms * 1e-3)}" for name, ms in times)
            yield f"{kept['call']}\n    {told}"


def main() -> int:
    """Compile them all, and tell what was timed; -> 1 if cuDNN is not there."""
    if find_cudnn() is None:
        print("no cuDNN: pip install --no-deps nvidia-cudnn-frontend, and nvidia-cudnn-cu13")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"STATICNET_CACHE": folder, "STATICNET_TUNE": PATIENCE}
        told: set[str] = set()
        for inputs, outputs in cases():
            f = sn.function(inputs, outputs, device="cuda", precision="bfloat16")
            f.specialize()
            new = [line for line in lines(Path(folder)) if line not in told]
            told |= {*new}
            print("\n".join(new))
    return 0


if __name__ == "__main__":
    sys.exit(main())
