// A detector of races for the shim: the compiler tells of each access (-fsanitize=thread, whose
// runtime this is), and two of one byte by two threads, one of which writes, must be ordered by
//
// - `__syncthreads`, in one block, or a barrier of 128 threads of it, among these;
// - a barrier of the grid, where blocks run together;
// - `__syncwarp`, among the lanes that it names. Votes, shuffles and matrix units order no memory;
// - nothing where both are atomic.
//
// `shim_without` names one barrier that orders nothing: threads still meet there, so what they
// compute stays the same, and what needs the barrier is a race.

#pragma once

#define SHIM_QUIET __attribute__((no_sanitize("thread"), noinline))

extern "C" {
int shim_without = 0;  // a barrier's code: its line, or its number plus one of the two below
int shim_seen[4096], shim_count = 0;  // codes of those that were met
const void *shim_ignored = nullptr;  // four bytes that any thread may write
extern char __bss_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
}

namespace races {

constexpr int kOfWarp = 1 << 20, kOfGrid = 1 << 21;
constexpr int kPages = 1 << 14, kPage = 4096, kMaxThreads = 1024, kMaxBlocks = 4;
constexpr int kWarp = 32, kGroup = 128;

// Who: one thread, or some of a warp, of a group, of a block, of several blocks.
enum Who { kOne, kSomeOfWarp, kSomeOfGroup, kSomeOfBlock, kSomeOfGrid };

// An access, or what several threads read, or did at once: the last of them, and the latest time of any.
struct Access {
  int thread = -1, block;
  Who who;
  unsigned epoch, group, turn, grid;  // barriers that the block, group, warp and grid had had
  bool atomic = false;
};

struct Cell {
  unsigned launch;
  Access written, read;
};

struct Page {
  uintptr_t number;
  Cell *cells;
};

inline Page pages[kPages];
inline bool watching;
inline unsigned launch, grid_epoch, block_epoch[kMaxBlocks];
inline unsigned turn[kMaxBlocks][kMaxThreads], group_epoch[kMaxBlocks][kMaxThreads];
inline unsigned lanes[kMaxBlocks][kMaxThreads];
inline int block, slot, thread;  // the running block by number, and where it is kept
inline char found[200];
inline const char *stacks, *stacks_end, *rooms, *rooms_end, *state, *state_end;

SHIM_QUIET inline void *memory(size_t bytes) {
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

SHIM_QUIET inline Cell *cell(uintptr_t at) {
  const uintptr_t number = at / kPage;
  for (unsigned i = number * 2654435761u % kPages;; i = (i + 1) % kPages) {
    if (pages[i].cells && pages[i].number != number) continue;
    if (!pages[i].cells) pages[i] = {number, (Cell *)memory(sizeof(Cell) * kPage)};
    return pages[i].cells + at % kPage;
  }
}

SHIM_QUIET inline void meet(int code) {
  for (int i = 0; i < shim_count; ++i)
    if (shim_seen[i] == code) return;
  if (shim_count < 4096) shim_seen[shim_count++] = code;
}

SHIM_QUIET inline Access now() {
  return {thread, block, kOne, block_epoch[slot], group_epoch[slot][thread], turn[slot][thread],
          grid_epoch};
}

// Whether what this thread does now comes after an access.
SHIM_QUIET inline bool comes_after(const Access &a) {
  if (a.thread < 0) return true;
  if (a.block != block || a.who == kSomeOfGrid) return a.grid < grid_epoch;
  if (a.epoch < block_epoch[slot]) return true;
  if (a.thread == thread && a.who == kOne) return true;
  if (a.who == kSomeOfBlock || a.thread / kGroup != thread / kGroup) return false;
  if (a.group < group_epoch[slot][thread]) return true;
  if (a.who == kSomeOfGroup || a.thread / kWarp != thread / kWarp) return false;
  return lanes[slot][thread] >> a.thread % kWarp & 1 && a.turn < turn[slot][thread];
}

// This thread reads what others read that it does not come after.
SHIM_QUIET inline Access together(const Access &a) {
  Access all = now();
  const Who both = a.block != block                       ? kSomeOfGrid
                   : a.thread / kGroup != thread / kGroup ? kSomeOfBlock
                   : a.thread / kWarp != thread / kWarp   ? kSomeOfGroup
                                                          : kSomeOfWarp;
  all.who = a.who > both ? a.who : both;
  if (a.turn > all.turn) all.turn = a.turn;
  if (a.group > all.group) all.group = a.group;
  return all;
}

SHIM_QUIET inline void report(const char *how, uintptr_t at, const Access &other) {
  if (found[0]) return;
  std::snprintf(found, sizeof found, "race: thread %d of block %d %s thread %d of block %d, at %p",
                thread, block, how, other.thread, other.block, (void *)at);
}

SHIM_QUIET inline void touch(uintptr_t at, bool writes, bool atomic) {
  const char *p = (const char *)at;
  const bool own = (p >= __bss_start && p < _end) || (p >= rooms && p < rooms_end);
  Cell &c = *cell(at);
  if (c.launch != launch) c = {launch, {}, {}};
  if (own && c.written.block != block) c.written = {};
  if (own && c.read.block != block) c.read = {};
  const bool both = atomic && c.written.atomic, after = comes_after(c.written);
  if (!after && !both) report(writes ? "writes over" : "reads what was written by", at, c.written);
  if (!writes) {
    c.read = comes_after(c.read) ? now() : together(c.read);
    return;
  }
  if (!comes_after(c.read)) report("writes over what was read by", at, c.read);
  c.written = both && !after ? together(c.written) : now();
  c.written.atomic = atomic;
}

SHIM_QUIET inline void access(const void *p, size_t bytes, bool writes, bool atomic = false) {
  const char *at = (const char *)p;
  if (!watching || (at >= stacks && at < stacks_end) || (at >= state && at < state_end)) return;
  if (at == shim_ignored) return;
  for (size_t i = 0; i < bytes; ++i) touch((uintptr_t)at + i, writes, atomic);
}

SHIM_QUIET inline void rest() { watching = false; }
SHIM_QUIET inline void watch() { watching = true; }

SHIM_QUIET inline void enter(int t) {
  thread = t;
  watching = true;
}

SHIM_QUIET inline void enter_block(int number, int at) {
  block = number;
  slot = at;
}

SHIM_QUIET inline void begin_launch() {
  ++launch;
  grid_epoch = 0;
  found[0] = 0;
}

// A block of a launch begins, and is kept in a slot.
SHIM_QUIET inline void begin_block(int at) {
  block_epoch[at] = 0;
  for (int t = 0; t < kMaxThreads; ++t) turn[at][t] = group_epoch[at][t] = lanes[at][t] = 0;
}

SHIM_QUIET inline void after_block_barrier(int line) {
  meet(line);
  if (shim_without != line) ++block_epoch[slot];
}

SHIM_QUIET inline void after_group_barrier(int first, int count, int of, int line) {
  if (count == of) return after_block_barrier(line);
  meet(line);
  if (shim_without == line) return;
  for (int t = first; t < first + count; ++t) ++group_epoch[slot][t];
}

SHIM_QUIET inline void after_grid_barrier(int number, int count) {
  meet(kOfGrid + number);
  if (shim_without == kOfGrid + number) return;
  ++grid_epoch;
  for (int b = 0; b < count; ++b) ++block_epoch[b];
}

SHIM_QUIET inline void after_warp_barrier(unsigned mask, int line) {
  meet(kOfWarp + line);
  if (shim_without == kOfWarp + line) return;
  lanes[slot][thread] = mask;
  ++turn[slot][thread];
}

}  // namespace races

#define SHIM_ACCESS(name, bytes)                                                                 \
  extern "C" SHIM_QUIET void __tsan_read##name(void *p) { races::access(p, bytes, false); }      \
  extern "C" SHIM_QUIET void __tsan_write##name(void *p) { races::access(p, bytes, true); }
SHIM_ACCESS(1, 1)
SHIM_ACCESS(2, 2)
SHIM_ACCESS(4, 4)
SHIM_ACCESS(8, 8)
SHIM_ACCESS(16, 16)
#define SHIM_UNALIGNED(bytes)                                                                    \
  extern "C" SHIM_QUIET void __tsan_unaligned_read##bytes(void *p) {                             \
    races::access(p, bytes, false);                                                              \
  }                                                                                              \
  extern "C" SHIM_QUIET void __tsan_unaligned_write##bytes(void *p) {                            \
    races::access(p, bytes, true);                                                               \
  }
SHIM_UNALIGNED(2)
SHIM_UNALIGNED(4)
SHIM_UNALIGNED(8)
SHIM_UNALIGNED(16)
extern "C" SHIM_QUIET void __tsan_read_range(void *p, size_t n) { races::access(p, n, false); }
extern "C" SHIM_QUIET void __tsan_write_range(void *p, size_t n) { races::access(p, n, true); }
extern "C" SHIM_QUIET void __tsan_func_entry(void *) {}
extern "C" SHIM_QUIET void __tsan_func_exit() {}
extern "C" SHIM_QUIET void __tsan_init() {}
