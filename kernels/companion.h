/* Reads a library's first values from the second file. Included after library.h, where there is one. */
#include <stdio.h>

int sn_model_load(sn_model_state *state, const char *path) {
  if (!state || !path) return SN_MODEL_NULL;
  FILE *const file = fopen(path, "rb");
  if (!file) return SN_MODEL_FILE;
  int code = SN_MODEL_OK;
  for (int i = SN_INPUTS; i < SN_INPUTS + SN_STATE + SN_CONSTANTS && !code; ++i) {
    const size_t bytes = (size_t)sn_tensors[i].bytes;
    if (bytes && fread(state->slots[i], 1, bytes, file) < bytes) code = SN_MODEL_SIZE;
  }
  if (!code && fgetc(file) != EOF) code = SN_MODEL_SIZE;
  if (ferror(file)) code = SN_MODEL_FILE;
  fclose(file);
  if (!code) state->ready = 1;
  return code;
}
