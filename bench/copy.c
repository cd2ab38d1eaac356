/* Copies, split among OpenMP's threads: the least that moving as many bytes can cost.

   copy_plain   the C library's memcpy. Out of cache, a stored line is first read from memory, so
                that three bytes cross the bus for two that are counted.
   copy_stream  stores that go around the caches (SSE2): out of cache nothing is read in vain, in
                cache it is slow.

   to and from are 16-byte aligned and do not overlap; n is in bytes. */

#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LINE = 64, THREAD_FROM = 256 << 10 };

typedef void (*copier)(char *restrict to, const char *restrict from, size_t n);

static void split(copier copy, char *restrict to, const char *restrict from, size_t n) {
#pragma omp parallel if (n >= THREAD_FROM)
    {
        size_t threads = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        size_t lines = (n + LINE - 1) / LINE;
        size_t start = lines * i / threads * LINE, end = lines * (i + 1) / threads * LINE;
        end = end < n ? end : n;
        if (start < end) copy(to + start, from + start, end - start);
    }
}

static void plain(char *restrict to, const char *restrict from, size_t n) { memcpy(to, from, n); }

void copy_plain(char *restrict to, const char *restrict from, size_t n) {
    split(plain, to, from, n);
}

#ifdef __SSE2__
#include <emmintrin.h>

static void stream(char *restrict to, const char *restrict from, size_t n) {
    size_t whole = n / sizeof(__m128i) * sizeof(__m128i);
    for (size_t i = 0; i < whole; i += sizeof(__m128i))
        _mm_stream_si128((__m128i *)(to + i), _mm_load_si128((const __m128i *)(from + i)));
    memcpy(to + whole, from + whole, n - whole);
    _mm_sfence();
}

void copy_stream(char *restrict to, const char *restrict from, size_t n) {
    split(stream, to, from, n);
}
#endif
