// CUDA C++ on the CPU: blocks run one after the other, and the threads of a block as fibers that
// change places where they wait for each other. A barrier that not all threads reach, lanes that
// wait for others that never come, and an access outside all buffers end the launch with a message;
// so do packs that are not aligned, if the compiler makes them trap.
//
// The blocks of a cooperative launch change places at barriers of the grid alone: between two of
// them each block in turn does all that it can, so that one which relies on more finds old values.
// Shared memory is the same for all, and nothing of use is in it when a block begins or goes on behind
// such a barrier; what the launch asks for beside it is each block's own, and ends where memory does.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <csetjmp>
#include <csignal>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define __noinline__
#define __syncthreads() shim::wait_for_block(__LINE__)
#define __ballot_sync(lanes, yes) shim::ballot(lanes, yes, __LINE__)
#define __shfl_xor_sync(lanes, x, distance) shim::exchange(lanes, x, distance, __LINE__)
#define __syncwarp(lanes) shim::wait_for_lanes(lanes, __LINE__)

#ifdef SHIM_RACES
#include "races.h"
#define SHIM_WATCH(...) __VA_ARGS__
#else
#define SHIM_WATCH(...)
#endif

struct uint3 {
  unsigned x, y, z;
};

// Of external linkage, so that a call that changes fibers is known to change them.
inline uint3 threadIdx, blockIdx, blockDim, gridDim;

template <class T>
inline T atomicCAS(T *place, T expected, T wanted) {
  SHIM_WATCH(races::access(place, sizeof(T), true, true); races::rest();)
  const T old = *place;
  if (old == expected) *place = wanted;
  SHIM_WATCH(races::watch();)
  return old;
}

// The first block that runs: a test of huge grids runs the last ones alone.
extern "C" {
unsigned shim_first_block = 0;
}

namespace shim {

constexpr int kMaxThreads = 1024, kWarp = 32;  // of a block
constexpr int kMaxTogether = 4, kMaxFibers = 1024;  // blocks and threads of a cooperative launch
constexpr size_t kStack = 64 << 10, kPage = 4096;
constexpr size_t kMostShared = 227 << 10;  // that a block may ask for

enum State { kIdle, kRunning, kAtBarrier, kAtGroup, kAtGrid, kAtExchange, kReady };

// A stack, and the thread that runs on it. One that is idle takes the next thread of the block.
struct Fiber {
  ucontext_t context;  // from which it begins; then it goes on from where it left
  jmp_buf place;
  bool begun = false;
  State state = kIdle;
  int thread = 0, line = 0, distance = 0;
  unsigned lanes = 0;
  uint64_t given = 0, got = 0;
};

// A block's threads, and how many are done.
struct Block {
  Fiber *of_thread[kMaxThreads];
  int done;
  bool begun;
};

inline Fiber fibers[kMaxFibers];
inline Block blocks[kMaxTogether];
inline Fiber *current, **of_thread;
inline jmp_buf scheduler;
inline sigjmp_buf failure;
inline int threads, next_of_warp, end_of_warp, done;
inline bool backwards, together;
inline char *rooms[kMaxTogether];  // what each block has asked for
inline char message[256];
inline void (*body)(void **);
inline void **arguments;

// What blocks find in the arrays that kernels declare `__shared__`: nothing of use. The linker puts
// them between these two: it sorts the sections of variables, one each, by their names, and those of
// functions' own variables begin with _ZZ, of functions in namespaces with _ZZN.
__attribute__((section(".bss._ZZ"), used, aligned(16))) static char shared_begin[16];
__attribute__((section(".bss._ZZM"), used, aligned(16))) static char shared_end[16];

inline void forget_shared() { std::memset(shared_begin, 0xFF, shared_end - shared_begin); }

[[noreturn]] inline void fail(const char *text, int a = 0, int b = 0) {
  std::snprintf(message, sizeof message, text, a, b);
  siglongjmp(failure, 1);
}

inline void enter(Fiber *fiber) {
  current = fiber;
  fiber->state = kRunning;
  const unsigned t = fiber->thread;
  threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
  SHIM_WATCH(races::enter(t);)
}

// To the scheduler, until it resumes this fiber. Unlike swapcontext, no call of the system.
__attribute__((noinline)) inline void pause(Fiber *fiber) {
  if (!_setjmp(fiber->place)) _longjmp(scheduler, 1);
}

inline void main_of_fiber() {
  for (;;) {
    Fiber *fiber = current;
    while (next_of_warp < end_of_warp) {
      fiber->thread = next_of_warp++;
      of_thread[fiber->thread] = fiber;
      enter(fiber);
      body(arguments);
      SHIM_WATCH(races::rest();)
      of_thread[fiber->thread] = nullptr;
      ++done;
    }
    fiber->state = kIdle;
    pause(fiber);
  }
}

__attribute__((noinline)) inline void leave(State state, int line) {
  SHIM_WATCH(races::rest();)
  Fiber *fiber = current;
  fiber->state = state;
  fiber->line = line;
  pause(fiber);
  enter(fiber);
}

inline void wait_for_block(int line) { leave(kAtBarrier, line); }

// For the group of so many threads side by side that a thread is of.
inline void wait_for_group(int count, int line) {
  current->distance = count;
  leave(kAtGroup, line);
}

inline void wait_for_grid(int number) {
  if (!together) fail("barrier %d is of a grid whose blocks do not run together", number);
  leave(kAtGrid, number);
}

// The lanes of one exchange have all come: each gets what it asked for.
inline void complete(Fiber *one) {
  const int first = one->thread / kWarp * kWarp;
  Fiber *lanes[kWarp] = {};
  for (int i = 0; i < kWarp; ++i) {
    if (!(one->lanes >> i & 1)) continue;
    if (first + i >= threads) fail("lane %d of an exchange is no thread of the block", i);
    Fiber *other = lanes[i] = of_thread[first + i];
    if (!other || other->state != kAtExchange || other->lanes != one->lanes) return;
    if (other->line != one->line)
      fail("lanes meet in different lines, %d and %d", one->line, other->line);
  }
  for (int i = 0; i < kWarp; ++i) {
    if (!lanes[i]) continue;
    const int from = i ^ lanes[i]->distance;
    if (from >= kWarp || !lanes[from]) fail("lane %d asks lane %d, which is not there", i, from);
    lanes[i]->got = lanes[from]->given;
  }
  for (Fiber *fiber : lanes)
    if (fiber) fiber->state = kReady;
}

template <class T>
inline T exchange(unsigned lanes, T x, int distance, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA exchanges 32 or 64 bits");
  Fiber *fiber = current;
  if (!(lanes >> fiber->thread % kWarp & 1)) fail("a lane is not in its own mask");
  fiber->given = 0;
  std::memcpy(&fiber->given, &x, sizeof x);
  fiber->lanes = lanes;
  fiber->distance = distance;
  leave(kAtExchange, line);
  std::memcpy(&x, &fiber->got, sizeof x);
  return x;
}

inline void wait_for_lanes(unsigned lanes, int line) {
  exchange(lanes, 0, 0, line);
  SHIM_WATCH(races::after_warp_barrier(lanes, line);)
}

// The lanes for which it holds: every lane of the mask hears of every other one.
inline unsigned ballot(unsigned lanes, bool yes, int line) {
  const int lane = current->thread % kWarp;
  unsigned all = 0;
  for (int distance = 0; distance < kWarp; ++distance) {
    const int other = lane ^ distance;
    if (lanes != 0xffffffffu) fail("only whole warps vote here");
    all |= (unsigned)exchange(lanes, (int)yes, distance, line) << other;
  }
  return all;
}

// What matrix units do for a warp, in the layout that `kernels/mma.cuh` tells. X: the elements.
template <class X>
inline void multiply(float *d, const unsigned *a, const unsigned *b, int line) {
  typedef typename X::memory memory;
  constexpr int kParts = sizeof(unsigned) / sizeof(memory), kWords = 8;
  static unsigned held[kMaxThreads / kWarp][kWarp][6];
  const int warp = current->thread / kWarp, lane = current->thread % kWarp;
  SHIM_WATCH(races::rest();)
  for (int i = 0; i < 6; ++i) held[warp][lane][i] = i < 4 ? a[i] : b[i - 4];
  exchange(0xffffffffu, 0, 0, line);  // all lanes have come
  SHIM_WATCH(races::rest();)
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    double sum = d[i];
    for (int word = 0; word < kWords; ++word) {
      memory left[kParts], right[kParts];
      const int place = word % 4, half = word / 4;
      std::memcpy(left, &held[warp][row % 8 * 4 + place][row / 8 + 2 * half], sizeof left);
      std::memcpy(right, &held[warp][column * 4 + place][4 + half], sizeof right);
      for (int k = 0; k < kParts; ++k) sum += (double)X::load(left[k]) * X::load(right[k]);
    }
    d[i] = (float)sum;
  }
  exchange(0xffffffffu, 0, 0, -line);  // all have read
}

// The threads that wait at a barrier go on if all of the block do.
inline bool release_barrier() {
  int waiting = 0, line = 0;
  for (int t = 0; t < threads; ++t) {
    Fiber *fiber = of_thread[t];
    if (!fiber || fiber->state != kAtBarrier) continue;
    if (waiting && fiber->line != line)
      fail("threads meet in different lines, %d and %d", line, fiber->line);
    line = fiber->line;
    ++waiting;
  }
  if (waiting == 0) return false;
  if (waiting < threads)
    fail("%d of %d threads wait at a barrier that others do not reach", waiting, threads);
  for (int t = 0; t < threads; ++t) of_thread[t]->state = kReady;
  SHIM_WATCH(races::after_block_barrier(line);)
  return true;
}

// The groups of threads that have all come go on; -> whether there are any.
inline bool release_groups() {
  bool any = false;
  for (int t = 0; t < threads; ++t) {
    Fiber *one = of_thread[t];
    if (!one || one->state != kAtGroup || t % one->distance) continue;
    const int count = one->distance;
    int waiting = 0;
    for (int i = t; i < t + count && i < threads; ++i) {
      Fiber *other = of_thread[i];
      waiting += other && other->state == kAtGroup && other->distance == count &&
                 other->line == one->line;
    }
    if (waiting < count) continue;
    for (int i = t; i < t + count; ++i) of_thread[i]->state = kReady;
    SHIM_WATCH(races::after_group_barrier(t, count, threads, one->line);)
    any = true;
  }
  return any;
}

__attribute__((noinline)) inline void resume(Fiber *fiber) {
  current = fiber;
  if (_setjmp(scheduler)) return;
  if (fiber->begun) _longjmp(fiber->place, 1);
  fiber->begun = true;
  setcontext(&fiber->context);
}

// Runs the lanes of one warp until each waits for threads of other warps; -> whether any ran.
inline bool run_warp(int first) {
  const int last = first + kWarp < threads ? first + kWarp : threads;
  bool ever = false;
  for (bool moved = true; moved; ever |= moved) {
    moved = false;
    for (; next_of_warp < last; moved = true) {
      Fiber *fiber = fibers;
      while (fiber->state != kIdle) ++fiber;
      end_of_warp = last;
      resume(fiber);
    }
    for (int t = first; t < last; ++t)
      if (of_thread[t] && of_thread[t]->state == kAtExchange) complete(of_thread[t]);
    for (int i = first; i < last; ++i) {
      Fiber *fiber = of_thread[backwards ? last - 1 - (i - first) : i];
      if (!fiber || fiber->state != kReady) continue;
      resume(fiber);
      moved = true;
    }
  }
  return ever;
}

// Whether all threads of the block wait for other blocks.
inline bool at_grid() {
  int waiting = 0;
  for (int t = 0; t < threads; ++t) waiting += of_thread[t] && of_thread[t]->state == kAtGrid;
  if (waiting && waiting < threads)
    fail("%d of %d threads wait for other blocks, and others do not", waiting, threads);
  return waiting > 0;
}

// Each warp in turn goes on as far as it can: what others have not read yet, it may overwrite.
inline void run_block(Block &block) {
  of_thread = block.of_thread;
  done = block.done;
  const int warps = (threads + kWarp - 1) / kWarp;
  for (; done < threads; block.begun = true) {
    bool moved = false;
    for (int i = 0; i < warps; ++i) {
      const int first = (backwards ? warps - 1 - i : i) * kWarp;
      next_of_warp = block.begun ? threads : first;
      moved |= run_warp(first);
    }
    if (moved || done == threads || release_groups()) continue;
    if (at_grid()) break;
    if (!release_barrier()) fail("lanes wait for others that do not come");
  }
  block.done = done;
}

inline void begin_block(Block &block) {
  block.done = 0;
  block.begun = false;
  SHIM_WATCH(races::begin_block((int)(&block - blocks));)
  for (int t = 0; t < threads; ++t) block.of_thread[t] = nullptr;
}

inline void enter_block(const unsigned *grid, unsigned i) {
  blockIdx = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
}

// The blocks wait at the same barrier of the grid, and go on; or all of them are done.
inline bool release_grid(int count) {
  int waiting = 0, number = 0;
  for (int b = 0; b < count; ++b) {
    if (blocks[b].done == threads) continue;
    const int own = blocks[b].of_thread[0]->line;
    if (waiting++ && own != number) fail("blocks meet at barriers %d and %d of the grid", number, own);
    number = own;
    for (int t = 0; t < threads; ++t) {
      if (blocks[b].of_thread[t]->line != own)
        fail("threads meet at barriers %d and %d of the grid", own, blocks[b].of_thread[t]->line);
      blocks[b].of_thread[t]->state = kReady;
    }
  }
  if (waiting && waiting < count)
    fail("%d of %d blocks wait at a barrier that others do not reach", waiting, count);
  SHIM_WATCH(if (waiting) races::after_grid_barrier(number, count);)
  return waiting > 0;
}

inline void run_together(const unsigned *grid) {
  const int count = grid[0];
  if (count > kMaxTogether || count * threads > kMaxFibers)
    fail("no %d blocks of %d threads run together", count, threads);
  for (int b = 0; b < count; ++b) begin_block(blocks[b]);
  do {
    for (int i = 0; i < count; ++i) {
      const int b = backwards ? count - 1 - i : i;
      enter_block(grid, b);
      SHIM_WATCH(races::enter_block(b, b);)
      forget_shared();
      run_block(blocks[b]);
    }
  } while (release_grid(count));
}

inline char *own_room() { return rooms[together ? blockIdx.x : 0]; }

// Gives each block the shared memory that the launch asks for, in which nothing of use lies.
inline void make_rooms(size_t bytes) {
  constexpr size_t kEach = (kMostShared + kPage - 1) / kPage * kPage + kPage;
  static char *all;
  if (!all) {
    all = (char *)mmap(nullptr, kEach * kMaxTogether, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int b = 0; b < kMaxTogether; ++b) mprotect(all + kEach * (b + 1) - kPage, kPage, PROT_NONE);
  }
  for (int b = 0; b < kMaxTogether; ++b) {
    rooms[b] = all + kEach * (b + 1) - kPage - (bytes + 15) / 16 * 16;
    std::memset(rooms[b], 0xFF, bytes);
  }
}

inline void on_fault(int signal, siginfo_t *info, void *) {
  const char *what = signal == SIGILL ? "a pack that is not aligned, or an index beyond an array"
                                      : "an access outside all buffers";
  std::snprintf(message, sizeof message, "block %u, thread %u: %s, at %p", blockIdx.x, threadIdx.x,
                what, info->si_addr);
  siglongjmp(failure, 1);
}

inline void make_fibers() {
  static char *stacks;
  if (!stacks)
    stacks = (char *)mmap(nullptr, kStack * kMaxFibers, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  SHIM_WATCH(races::stacks = stacks; races::stacks_end = stacks + kStack * kMaxFibers;)
  for (int i = 0; i < kMaxFibers; ++i) {
    Fiber &fiber = fibers[i];
    fiber.state = kIdle;
    fiber.begun = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks + kStack * i;
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, main_of_fiber, 0);
  }
}

// Runs a kernel; -> what went wrong, or null. `reversed` blocks and threads run last ones first.
inline const char *launch(void (*kernel)(void **), const unsigned *grid, const unsigned *block,
                          void **given, int reversed, int cooperative, int shared) {
  static bool ready;
  if (!ready) make_fibers();
  ready = true;
  body = kernel;
  arguments = given;
  backwards = reversed;
  together = cooperative;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  threads = (int)(block[0] * block[1] * block[2]);
  if ((size_t)shared > kMostShared) return "a block has not so much shared memory";
  make_rooms(shared);
  if (threads < 1 || threads > kMaxThreads) return "a block has 1 to 1024 threads";
  struct sigaction action = {}, segv, bus, ill;
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
  sigaction(SIGILL, &action, &ill);
  SHIM_WATCH(races::begin_launch();)
  SHIM_WATCH(races::rooms = rooms[0]; races::rooms_end = rooms[kMaxTogether - 1] + shared;)
  SHIM_WATCH(races::state = (const char *)fibers; races::state_end = (const char *)(fibers + kMaxFibers);)
  const bool failed = sigsetjmp(failure, 1);
  SHIM_WATCH(if (failed) races::rest();)
  if (!failed && together) run_together(grid);
  if (!failed && !together) {
    const unsigned count = grid[0] * grid[1] * grid[2];
    for (unsigned i = shim_first_block; i < count; ++i) {
      enter_block(grid, backwards ? count - 1 - i : i);
      SHIM_WATCH(races::enter_block(i, 0);)
      begin_block(blocks[0]);
      forget_shared();
      run_block(blocks[0]);
    }
  }
  sigaction(SIGSEGV, &segv, nullptr);
  sigaction(SIGBUS, &bus, nullptr);
  sigaction(SIGILL, &ill, nullptr);
  if (failed) ready = false;
  SHIM_WATCH(if (!failed && races::found[0]) return races::found;)
  return failed ? message : nullptr;
}

template <class... A, size_t... I>
inline void call(void (*kernel)(A...), void **given, std::index_sequence<I...>) {
  kernel(*(A *)given[I]...);
}

template <class... A>
inline void call(void (*kernel)(A...), void **given) {
  call(kernel, given, std::index_sequence_for<A...>());
}

}  // namespace shim

// `shim_<kernel>(grid, block, arguments, reversed, cooperative, shared)` for a kernel of this file.
#define SHIM_KERNEL(kernel)                                                                        \
  extern "C" const char *shim_##kernel(const unsigned *grid, const unsigned *block, void **given,  \
                                       int reversed, int cooperative, int shared) {                \
    return shim::launch([](void **a) { shim::call(kernel, a); }, grid, block, given, reversed,     \
                        cooperative, shared);                                                      \
  }
