/* An exported step as a library. codegen/standalone.py writes before it: what its header declares,
   and the table sn_tensors of what the step reads and writes, in the order of its slots (SN_INPUTS of
   them are given, then SN_STATE variables, SN_CONSTANTS constants, SN_OUTPUTS results), the bytes of a
   second file with first values, and sn_sites; in all names the model's own for `sn_model`. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a caller holds as the state: this, then the tensors that have a place, and the arena. */
struct sn_model_state {
  void *slots[SN_TENSORS + 1];
  char *arena;
  int ready; /* the variables have their first values */
};
_Static_assert(sizeof(sn_model_state) <= SN_HEAD_BYTES, "this machine's pointers are too long");

sn_model_state *sn_model_init(void *memory) {
  sn_model_state *const state = (sn_model_state *)memory;
  if (!memory || (uintptr_t)memory % 64) return NULL;
  memset(memory, 0, SN_MODEL_STATE_BYTES);
  for (int i = 0; i < SN_TENSORS; ++i) {
    const sn_tensor *const t = &sn_tensors[i];
    state->slots[i] = t->place ? (char *)memory + t->place : (void *)t->data;
    if (t->place && t->data) memcpy(state->slots[i], t->data, (size_t)t->bytes);
  }
  state->arena = (char *)memory + SN_ARENA_PLACE;
  state->ready = !SN_COMPANION_BYTES;
  return state;
}

sn_model_state *sn_model_create(void) {
  void *const memory = aligned_alloc(64, SN_MODEL_STATE_BYTES);
  sn_model_state *const state = sn_model_init(memory);
  if (!state) free(memory);
  return state;
}

void sn_model_destroy(sn_model_state *state) { free(state); }

const char *sn_model_message(int code) {
  const int sites = (int)(sizeof sn_sites / sizeof *sn_sites) - 1;
  if (code > 0 && code <= sites) return sn_sites[code - 1];
  if (code == SN_MODEL_OK) return "all is well";
  if (code == SN_MODEL_NULL) return "a pointer is NULL: the state's, or one to inputs or outputs";
  if (code == SN_MODEL_EMPTY) return "the state has no first values: read them before the first step";
  if (code == SN_MODEL_FILE) return "the file of first values cannot be read";
  if (code == SN_MODEL_SIZE) return "the file of first values has another size than theirs";
  return "there is no such code";
}
