"""The header of an exported step: what C and C++ call it by."""

from __future__ import annotations

from collections.abc import Sequence

from staticnet.codegen.c_names import member_names
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import BOOL, HALVES
from staticnet.ir.node import Node

ENTRIES = ("_create", "_destroy", "_init", "_load", "_held", "_message")
"""What the names of a step's functions end in, besides that of the step itself."""
Labelled = Sequence[tuple[Node, str]]


class Interface:
    """What a header declares of a step: structs of its inputs, outputs and variables, and calls.

    `name` is that of the step's function, and the beginning of all other names.
    """

    def __init__(
        self, name: str, fed: Labelled, variables: Labelled, results: Labelled, state_bytes: int
    ) -> None:
        self.name = name
        self.fed = fed
        self.variables = variables
        self.results = results
        self.state_bytes = state_bytes

    def header(self, head: str, companion: str) -> str:
        """The text of the header; `companion` is the name of the file of first values, or ''."""
        return f"{head}\n{self.declarations(companion)}"

    def declarations(self, companion: str) -> str:
        """The header without its head: valid C and C++, to be read once."""
        name, guard = self.name, f"{self.name.upper()}_H"
        load = _LOAD.format(file=companion) if companion else ""
        kept = _VARIABLES.format(variables=_struct("variables", self.variables, "")) * bool(
            self.variables
        )
        text = _HEADER.format(
            guard=guard,
            bytes=self.state_bytes,
            inputs=_struct("inputs", self.fed, "const "),
            outputs=_struct("outputs", self.results, ""),
            load=load,
            variables=kept,
            null=_allowed(self.fed, self.results),
        )
        return renamed(text, name)

    def source(self) -> str:
        """The C that follows the table of tensors: the step's function, and the variables'."""
        fed, results = _members(self.fed), _members(self.results)
        tests = ["!state", *["!inputs"] * bool(fed), *["!outputs"] * bool(results)]
        lines = [
            "",
            "int sn_model(sn_model_state *state, const sn_model_inputs *inputs,",
            "    const sn_model_outputs *outputs) {",
            f"  if ({' || '.join(tests)}) return SN_MODEL_NULL;",
            "  if (!state->ready) return SN_MODEL_EMPTY;",
            *(f"  state->slots[{i}] = (void *)inputs->{name};" for i, name in enumerate(fed)),
            *(
                f"  state->slots[SN_TENSORS - SN_OUTPUTS + {i}] = outputs->{name};"
                for i, name in enumerate(results)
            ),
            "  for (int i = 0; i < SN_TENSORS; ++i)",
            "    if (!state->slots[i] && sn_tensors[i].bytes) return SN_MODEL_NULL;",
            "  return sn_one_step(state->slots, state->arena);",
            "}",
        ]
        if self.variables:
            lines += ["", "sn_model_variables sn_model_held(sn_model_state *state) {"]
            lines += ["  sn_model_variables held;"]
            for i, (name, (node, _)) in enumerate(
                zip(_members(self.variables), self.variables, strict=True)
            ):
                slot = f"state->slots[SN_INPUTS + {i}]"
                lines.append(f"  held.{name} = ({c_type(node.dtype)} *){slot};")
            lines += ["  return held;", "}"]
        return "\n".join(lines) + "\n"


def renamed(text: str, name: str) -> str:
    """C with a model's own name."""
    return text.replace("SN_MODEL", name.upper()).replace("sn_model", name)


def _members(nodes: Labelled) -> list[str]:
    return member_names(label for _, label in nodes)


def _struct(kind: str, nodes: Labelled, const: str) -> str:
    lines = []
    for name, (node, label) in zip(_members(nodes), nodes, strict=True):
        told = [str(node.type), *[f"'{label}'"] * (label != name), *_encoding(node)]
        lines.append(f"  {const}{c_type(node.dtype)} *{name}; /* {_plain(', '.join(told))} */")
    lines = lines or [f"  char none; /* there are no {kind} */"]
    return "\n".join(["typedef struct {", *lines, f"}} sn_model_{kind};"])


def _encoding(node: Node) -> list[str]:
    if node.dtype in HALVES:
        return ["the bits of such numbers"]
    return ["0 or 1"] if node.dtype == BOOL else []


def _allowed(fed: Labelled, results: Labelled) -> str:
    missing = [what for what, nodes in (("inputs", fed), ("outputs", results)) if not nodes]
    return f"\n   There are no {' and no '.join(missing)}: NULL will do." if missing else ""


def _plain(text: str) -> str:
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text.replace("*/", "* /").replace("/*", "/ *")


_HEADER = """\
#ifndef {guard}
#define {guard}
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {{
#endif

/* Arrays lie row by row. An output is none of the inputs; what holds no element may be NULL. */
{inputs}

{outputs}

/* Variables, constants and memory to work in. States are independent of each other: each may be in
   use in a thread of its own. */
typedef struct sn_model_state sn_model_state;
#define SN_MODEL_STATE_BYTES {bytes}

/* A state with the first values; NULL if there is no memory. */
sn_model_state *sn_model_create(void);
void sn_model_destroy(sn_model_state *state);

/* The same in the caller's memory: SN_MODEL_STATE_BYTES that begin at a multiple of 64, else NULL.
   Nothing is to be destroyed then. */
sn_model_state *sn_model_init(void *memory);
{load}{variables}
/* One step: reads the inputs, writes the outputs, updates the state. Gives 0, or a code below or a
   positive one of a failure in the step, after which the state is as it was.{null} */
int sn_model(sn_model_state *state, const sn_model_inputs *inputs, const sn_model_outputs *outputs);

enum {{
  SN_MODEL_OK = 0,
  SN_MODEL_NULL = -1,  /* a pointer is NULL */
  SN_MODEL_EMPTY = -2, /* the state's first values were not read */
  SN_MODEL_FILE = -3,  /* the file of first values cannot be read; errno says why */
  SN_MODEL_SIZE = -4   /* it has another size */
}};

/* What a code means; the text is never freed. */
const char *sn_model_message(int code);

#ifdef __cplusplus
}}
#endif
#endif
"""
_LOAD = """
/* Reads the first values, which are too many for C source, from {file}. Until then no step runs. */
int sn_model_load(sn_model_state *state, const char *path);
"""
_VARIABLES = """
{variables}

/* Where the variables lie in a state, to read them or to set them between steps. */
sn_model_variables sn_model_held(sn_model_state *state);
"""
