/* The program around an exported step: feeds from a file, outputs as text, state kept in a file.
   Included after library.h. codegen/standalone.py writes before it: the table sn_shown of how the
   tensors are told, the bytes of what is fed and of the state, and the second file's name. */

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *sn_program = "step";
static sn_model_state *sn_now;

__attribute__((noreturn, format(printf, 1, 2))) static void sn_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);
  fprintf(stderr, "%s: ", sn_program);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

static FILE *sn_open(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (!file) sn_fail("cannot open %s: %s", path, strerror(errno));
  return file;
}

static void sn_close(FILE *file, const char *path) {
  if (fclose(file)) sn_fail("cannot write %s: %s", path, strerror(errno));
}

/* Memory for so many bytes, all of them 0. */
static void *sn_room(int64_t bytes) {
  const uint64_t padded = ((uint64_t)bytes / 64 + 1) * 64;
  void *room = padded > SIZE_MAX ? NULL : aligned_alloc(64, (size_t)padded);
  if (!room) sn_fail("there is no memory for %lld bytes", (long long)bytes);
  return memset(room, 0, (size_t)padded);
}

/* The state, and memory for what is given to a step and what it gives. */
static void sn_allocate(void) {
  sn_now = sn_model_create();
  if (!sn_now) sn_fail("there is no memory for %lld bytes", (long long)SN_MODEL_STATE_BYTES);
  for (int i = 0; i < SN_TENSORS; ++i)
    if (!sn_now->slots[i]) sn_now->slots[i] = sn_room(sn_tensors[i].bytes);
}

/* Reads some tensors, one after the other; gives how many of their bytes there were. */
static int64_t sn_read(FILE *file, const char *path, int first, int count) {
  int64_t done = 0;
  for (int i = first; i < first + count; ++i) {
    const size_t wanted = (size_t)sn_tensors[i].bytes;
    const size_t got = wanted ? fread(sn_now->slots[i], 1, wanted, file) : 0;
    done += (int64_t)got;
    if (got < wanted) break;
  }
  if (ferror(file)) sn_fail("cannot read %s: %s", path, strerror(errno));
  return done;
}

/* Reads a file that holds some tensors and nothing else. */
static void sn_load(const char *path, int first, int count, int64_t bytes, const char *what) {
  FILE *file = sn_open(path, "rb");
  const int64_t got = sn_read(file, path, first, count);
  if (got != bytes || fgetc(file) != EOF)
    sn_fail("%s holds %s than the %lld bytes expected: %s", path, got < bytes ? "fewer" : "more",
            (long long)bytes, what);
  fclose(file);
}

static void sn_write(FILE *file, const char *path, int first, int count) {
  for (int i = first; i < first + count; ++i) {
    const size_t bytes = (size_t)sn_tensors[i].bytes;
    if (bytes && fwrite(sn_now->slots[i], 1, bytes, file) < bytes)
      sn_fail("cannot write %s: %s", path, strerror(errno));
  }
}

/* A path to a file that lies beside this program. */
static char *sn_beside(const char *name) {
  const char *slash = strrchr(sn_program, '/');
  const size_t folder = slash ? (size_t)(slash - sn_program) + 1 : 0;
  char *path = (char *)sn_room((int64_t)(folder + strlen(name)));
  memcpy(path, sn_program, folder);
  strcpy(path + folder, name);
  return path;
}

/* Reports a file of feeds that is no whole number of steps, where its length can be known. */
static void sn_check_feeds(FILE *feeds, const char *path, int64_t wanted) {
  if (fseek(feeds, 0, SEEK_END)) return; /* a pipe */
  const long size = ftell(feeds);
  rewind(feeds);
  if (size < 0 || size == LONG_MAX) return;
  if (size == 0 || size % wanted)
    sn_fail("%s holds %ld bytes: expected a multiple of %lld, the bytes of one step's %s", path,
            size, (long long)wanted, sn_feed_text);
}

/* Reads one step's feeds; from the start again when the file ends and `again` is set. */
static int sn_next_feeds(FILE *feeds, const char *path, int again) {
  int64_t got = sn_read(feeds, path, 0, SN_INPUTS);
  if (got == 0 && again && fseek(feeds, 0, SEEK_SET) == 0) got = sn_read(feeds, path, 0, SN_INPUTS);
  if (got == 0 && !again) return 0;
  if (got < sn_feed_bytes)
    sn_fail("%s ends after %lld of the %lld bytes expected for a step: %s", path, (long long)got,
            (long long)sn_feed_bytes, sn_feed_text);
  return 1;
}

/* One number as it is; of more numbers the mean, the least and the greatest. */
static void sn_print(int output) {
  const sn_shown *const t = &sn_shows[output];
  const void *const data = sn_now->slots[SN_TENSORS - SN_OUTPUTS + output];
  const int64_t count = t->count;
  if (count == 0) printf("%s %s", t->name, t->type);
  else if (count == 1) printf("%s %.*Lg", t->name, t->digits, t->element(data, 0));
  else {
    long double sum = 0, least = t->element(data, 0), greatest = least;
    for (int64_t i = 0; i < count; ++i) {
      const long double x = t->element(data, i);
      sum += x;
      least = x < least ? x : least;
      greatest = x > greatest ? x : greatest;
    }
    printf("%s %s mean %.*Lg least %.*Lg greatest %.*Lg", t->name, t->type, t->digits,
           sum / (long double)count, t->digits, least, t->digits, greatest);
  }
}

static void sn_report(long long step) {
  printf("step %lld", step);
  for (int i = 0; i < SN_OUTPUTS; ++i) {
    fputs(i ? ", " : ": ", stdout);
    sn_print(i);
  }
  putchar('\n');
  if (ferror(stdout)) sn_fail("cannot write the standard output: %s", strerror(errno));
}

static int sn_usage(FILE *to) {
  fprintf(to, "usage: %s %s[STEPS] [--load IN] [--state OUT] [--outputs OUT]\n", sn_program,
          sn_feed_bytes ? "FEEDS " : "");
  if (sn_feed_bytes) fprintf(to, "  FEEDS      a binary file, for each step: %s\n", sn_feed_text);
  fputs("  STEPS      how many; the feeds are used again from the start as need be\n"
        "  --load     begin with the state that --state wrote\n"
        "  --state    write the state after the last step\n"
        "  --outputs  write every step's outputs, one after the other\n", to);
  return to == stdout ? 0 : 2;
}

/* The steps that the command line asks for. */
static long long sn_count(const char *text) {
  char *end;
  errno = 0;
  const long long steps = strtoll(text, &end, 10);
  if (errno || end == text || *end || steps < 1)
    sn_fail("STEPS is %s: give a positive number", text);
  return steps;
}

static void sn_run_steps(const char *path, long long steps, const char *results) {
  FILE *feeds = path ? sn_open(path, "rb") : NULL, *out = results ? sn_open(results, "wb") : NULL;
  if (feeds) sn_check_feeds(feeds, path, sn_feed_bytes);
  for (long long step = 1; steps == 0 || step <= steps; ++step) {
    if (feeds && !sn_next_feeds(feeds, path, steps > 0 || step == 1)) break;
    const int failed = sn_one_step(sn_now->slots, sn_now->arena);
    if (failed) sn_fail("step %lld: %s; this step updated nothing", step, sn_sites[failed - 1]);
    sn_report(step);
    if (out) sn_write(out, results, SN_TENSORS - SN_OUTPUTS, SN_OUTPUTS);
  }
  if (feeds) fclose(feeds);
  if (out) sn_close(out, results);
}

/* Weak: where this file is linked with a program, that has the main. */
__attribute__((weak)) int main(int count, char **arguments) {
  const char *load = NULL, *state = NULL, *outputs = NULL, *places[2] = {NULL, NULL};
  int found = 0;
  if (count > 0) sn_program = arguments[0];
  for (int i = 1; i < count; ++i) {
    const char *word = arguments[i], **option = NULL;
    if (!strcmp(word, "--help")) return sn_usage(stdout);
    if (!strcmp(word, "--load")) option = &load;
    if (!strcmp(word, "--state")) option = &state;
    if (!strcmp(word, "--outputs")) option = &outputs;
    if (option && i + 1 < count) *option = arguments[++i];
    else if (option || !strncmp(word, "--", 2) || found == 2) return sn_usage(stderr);
    else places[found++] = word;
  }
  const int fed = sn_feed_bytes > 0; /* else the first place is that of STEPS */
  if (found < fed || found > fed + 1) return sn_usage(stderr);
  const long long steps = found > fed ? sn_count(places[fed]) : !fed;

  sn_allocate();
  if (SN_COMPANION_BYTES) {
    char *path = sn_beside(sn_companion);
    sn_load(path, SN_INPUTS, SN_STATE + SN_CONSTANTS, SN_COMPANION_BYTES,
            "the initial values that were written with this program's source");
    free(path);
  }
  if (load) sn_load(load, SN_INPUTS, SN_STATE, sn_state_bytes, "a state that --state wrote");
  if (state) sn_close(sn_open(state, "ab"), state); /* that it cannot be written is told now */
  sn_run_steps(fed ? places[0] : NULL, steps, outputs);
  if (state) {
    FILE *file = sn_open(state, "wb");
    sn_write(file, state, SN_INPUTS, SN_STATE);
    sn_close(file, state);
  }
  if (fflush(stdout)) sn_fail("cannot write the standard output: %s", strerror(errno));
  return 0;
}
