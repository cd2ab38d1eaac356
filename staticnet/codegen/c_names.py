"""Names that are free in C and in C++, for what others will compile and link with their own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from staticnet.errors import ArgumentError

_KEYWORDS = """
alignas alignof and and_eq asm atomic auto bitand bitor bool break case catch char char16_t
char32_t char8_t class co_await co_return co_yield compl complex concept const const_cast consteval
constexpr constinit continue decltype default delete do double dynamic_cast else enum errno
explicit export extern false far float for friend goto huge if imaginary import inline int linux
long main module mutable namespace near new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast requires restrict return short signed sizeof static
static_assert static_cast stderr stdin stdout struct switch template this thread_local throw true
try typedef typeid typename typeof union unix unsigned using virtual void volatile wchar_t while
xor xor_eq EOF I INFINITY NAN NULL assert offsetof
"""
_LIBRARY = """
abort abs access acos acosh aligned_alloc alloca asin asinh atan atan2 atanh atexit atof atoi atol
atoll bcmp bcopy bsearch bzero calloc cbrt ceil clearerr close copysign cos cosh div drem erf erfc
exit exp exp10 exp2 expm1 fabs fclose fdim feof ferror fflush fgetc fgetpos fgets ffs floor fma
fmax fmin fmod fopen fprintf fputc fputs fread free freopen frexp fscanf fseek fsetpos ftell fwrite
gamma getc getchar getenv getline gets hypot ilogb index isalnum isalpha isascii isblank iscntrl
isdigit isfinite isgraph isinf islower isnan isnormal isprint ispunct isspace isupper isxdigit j0
j1 jn labs ldexp ldiv lgamma link llabs lldiv llrint llround log log10 log1p log2 logb lrint lround
malloc memchr memcmp memcpy memmove memset modf nan nearbyint nextafter nexttoward open perror pow
printf putc putchar puts qsort quick_exit raise rand random read realloc remainder remove remquo
rename rewind rindex rint round scalb scalbln scalbn scanf select setbuf setvbuf signal signbit
significand sin sincos sinh snprintf sprintf sqrt srand srandom sscanf stat strcat strchr strcmp
strcoll strcpy strcspn strdup strerror strlen strncat strncmp strncpy strndup strpbrk strrchr
strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm system tan tanh
tgamma time tmpfile tmpnam toascii tolower toupper trunc ungetc vfprintf vprintf vsnprintf vsprintf
write y0 y1 yn
"""
KEYWORDS = frozenset(_KEYWORDS.split())
"""What C or C++ keeps for itself, and names that a standard header may define as macros."""
FUNCTIONS = frozenset(_LIBRARY.split())
"""What a C library, or the compiler itself, already calls a function."""


def as_name(text: str) -> str:
    """A free name made from a text: `exp` becomes `exp_`, `2-layer net` becomes `x2_layer_net`."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    name = re.sub("_+", "_", name).lstrip("_")
    if not name or name[0].isdigit():
        name = f"x{name}"
    is_taken = name in KEYWORDS | FUNCTIONS or re.fullmatch("(?i)sn|sn_.*", name)
    return (
        f"x_{name}" if is_taken and name.lower().startswith("sn") else name + "_" * bool(is_taken)
    )


def as_call(text: str) -> str:
    """A free name of a function made from a text: a program's kernels are named `k0`, `k1`, …."""
    name = as_name(text)
    return f"x_{name}" if re.fullmatch(r"k\d+(_.*)?", name) else name


def member_names(texts: Iterable[str]) -> list[str]:
    """A free name for each text, no two the same: `a.b` and `a_b` become `a_b` and `a_b_2`."""
    names: list[str] = []
    for text in texts:
        name = first = as_name(text)
        number = 1
        while name in names:
            number += 1
            name = f"{first}_{number}"
        names.append(name)
    return names


def checked_name(name: str) -> str:
    """A function's name as it is given.

    Raises:
        ArgumentError: if it is none of C, or not free.
    """
    if as_call(name) != name:
        raise ArgumentError(
            f"name {name!r}: give one that is free in C and C++, as {as_call(name)!r}"
        )
    return name
