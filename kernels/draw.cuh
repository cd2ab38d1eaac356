// Many steps in a row without the host: rows drawn from data sets that lie on the device, and
// outputs kept one after the other. `table` is in device memory so that what was captured can be
// launched again for other data: [0] the number of the step, [1] the address of the order of rows,
// [2] after how many batches it begins again, then one address for each data set and for each
// output's stack.

#ifndef STATICNET_DRAW_CUH
#define STATICNET_DRAW_CUH

typedef long long sn_word;
struct alignas(16) sn_16_bytes {
  sn_word v[2];
};

// to[i] = data[order[step * batch + i]] for the rows i of a batch. The first unit is the thread's
// that is `shift` from the end, less than a block: so several draws wait side by side.
template <class Unit>
__device__ inline void sn_gather_rows(const sn_word *table, sn_word step, int slot, void *to,
                                      sn_word batch, sn_word row_bytes, int shift = 0) {
  const Unit *const data = (const Unit *)table[slot];
  const sn_word *const order = (const sn_word *)table[1] + step % table[2] * batch;
  const sn_word units = row_bytes / sizeof(Unit), all = batch * units;
  const sn_word threads = (sn_word)gridDim.x * blockDim.x;
  const sn_word own = (sn_word)blockIdx.x * blockDim.x + threadIdx.x + shift;
  for (sn_word i = own < threads ? own : own - threads; i < all; i += threads)
    ((Unit *)to)[i] = data[order[i / units] * units + i % units];
}

// stack[step] = output
template <class Unit>
__device__ inline void sn_keep_output(const sn_word *table, sn_word step, int slot,
                                      const void *from, sn_word nbytes) {
  const sn_word units = nbytes / sizeof(Unit), threads = (sn_word)gridDim.x * blockDim.x;
  Unit *const to = (Unit *)table[slot] + step * units;
  for (sn_word i = (sn_word)blockIdx.x * blockDim.x + threadIdx.x; i < units; i += threads)
    to[i] = ((const Unit *)from)[i];
}

#endif  // STATICNET_DRAW_CUH
