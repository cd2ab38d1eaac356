"""A pytest plugin for the array API's own suite, `-p array_api_suite`: see docs/array_api.md.

The suite leaves out dtypes that it is told to, but takes the greatest of all complex ones while it
is imported; for a namespace without any that is an error, which this plugin makes None.
"""

from __future__ import annotations

import builtins
import importlib
import os
from typing import Any
from unittest import mock

os.environ["ARRAY_API_TESTS_MODULE"] = "staticnet.dynamic.array_api"
os.environ["ARRAY_API_TESTS_VERSION"] = "2024.12"
os.environ["ARRAY_API_TESTS_SKIP_DTYPES"] = "complex64,complex128"

_greatest = builtins.max


def _greatest_or_none(*args: Any, **options: Any) -> Any:
    return (None,) if args == ([],) else _greatest(*args, **options)


with mock.patch("builtins.max", _greatest_or_none):
    importlib.import_module("array_api_tests.dtype_helpers")
