/* Copies, split among OpenMP's threads: the least that moving as many bytes can cost.

   copy_plain   the C library's memcpy. Out of cache, a stored line is first read from memory, so
                that three bytes cross the bus for two that are counted, unless the library
                streams, which may depend on how the addresses lie.
   copy_stream  stores that go around the caches (SSE2): out of cache nothing is read in vain, in
                cache it is slow.

   n bytes are copied, `passes` times over, and then the first `rest` of them once more. A thread
   goes on to its part of the next pass without waiting for the others. to and from are 16-byte
   aligned and do not overlap; rest <= n. */

#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LINE = 64, THREAD_FROM = 256 << 10 };

typedef void (*copier)(char *restrict to, const char *restrict from, size_t n);

static void split(copier copy, char *restrict to, const char *restrict from, size_t n,
                  size_t passes, size_t rest) {
#pragma omp parallel if (n * passes + rest >= THREAD_FROM)
    {
        size_t threads = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        for (size_t pass = 0; pass <= passes; pass++) {
            size_t bytes = pass < passes ? n : rest;
            size_t lines = (bytes + LINE - 1) / LINE;
            size_t start = lines * i / threads * LINE, end = lines * (i + 1) / threads * LINE;
            end = end < bytes ? end : bytes;
            if (start < end) copy(to + start, from + start, end - start);
        }
    }
}

static void plain(char *restrict to, const char *restrict from, size_t n) { memcpy(to, from, n); }

void copy_plain(char *restrict to, const char *restrict from, size_t n, size_t passes,
                size_t rest) {
    split(plain, to, from, n, passes, rest);
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

void copy_stream(char *restrict to, const char *restrict from, size_t n, size_t passes,
                 size_t rest) {
    split(stream, to, from, n, passes, rest);
}
#endif
