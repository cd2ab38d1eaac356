// The kernels of many steps that are launched one by one. Included after draw.cuh.

#ifndef STATICNET_RUN_CUH
#define STATICNET_RUN_CUH

#define SN_RUN_KERNELS(bytes, Unit)                                                            \
  extern "C" __global__ void sn_gather_##bytes(const sn_word *table, int slot, void *to,       \
                                               sn_word batch, sn_word row_bytes) {             \
    sn_gather_rows<Unit>(table, table[0], slot, to, batch, row_bytes);                         \
  }                                                                                            \
  extern "C" __global__ void sn_keep_##bytes(const sn_word *table, int slot, const void *from, \
                                             sn_word nbytes) {                                 \
    sn_keep_output<Unit>(table, table[0], slot, from, nbytes);                                 \
  }
SN_RUN_KERNELS(16, sn_16_bytes)
SN_RUN_KERNELS(4, int)
SN_RUN_KERNELS(1, char)

extern "C" __global__ void sn_next_step(sn_word *table) { ++table[0]; }

#endif  // STATICNET_RUN_CUH
