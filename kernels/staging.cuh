// A step's feeds and outputs, which lie elsewhere at each call, though the graph that was captured
// is always the same. The host writes where they lie into `ring`, in pinned memory: `slots` rows of
// `words` addresses, first the feeds', then the outputs'; 0 is for one that needs no copy. `state`
// is in device memory: [0] the number of steps done, then for each of them where the step has it,
// and its bytes.

#ifndef STATICNET_STAGING_CUH
#define STATICNET_STAGING_CUH

typedef long long sn_word;
struct alignas(16) sn_16_bytes {
  sn_word v[2];
};

template <class Unit>
__device__ inline void sn_copy_units(void *to, const void *from, sn_word nbytes) {
  const sn_word units = nbytes / sizeof(Unit), threads = (sn_word)gridDim.x * blockDim.x;
  for (sn_word i = (sn_word)blockIdx.x * blockDim.x + threadIdx.x; i < units; i += threads)
    ((Unit *)to)[i] = ((const Unit *)from)[i];
}

// In the widest units that both addresses and the size are multiples of.
__device__ inline void sn_copy_bytes(void *to, const void *from, sn_word nbytes) {
  const sn_word all = (sn_word)to | (sn_word)from | nbytes;
  if (all % 16 == 0)
    sn_copy_units<sn_16_bytes>(to, from, nbytes);
  else if (all % 4 == 0)
    sn_copy_units<int>(to, from, nbytes);
  else
    sn_copy_units<char>(to, from, nbytes);
}

// Where the host says that something is in the step that runs now.
__device__ inline void *sn_told(const sn_word *ring, const sn_word *state, int slots, int words,
                                int number) {
  const volatile sn_word *const row = ring + state[0] % slots * words;
  return (void *)row[number];
}

extern "C" __global__ void sn_fetch(const sn_word *ring, const sn_word *state, int slots,
                                    int words) {
  const int number = blockIdx.y;
  const void *const from = sn_told(ring, state, slots, words, number);
  if (from) sn_copy_bytes((void *)state[1 + 2 * number], from, state[2 + 2 * number]);
}

// The step is over: its row of the ring may be written again.
extern "C" __global__ void sn_finish(sn_word *state, sn_word *done) {
  *(volatile sn_word *)done = ++state[0];
}

// A single block also finishes the step; of several none knows when the others have read the ring.
extern "C" __global__ void sn_deliver(const sn_word *ring, sn_word *state, int slots, int words,
                                      int first, sn_word *done) {
  const int number = first + blockIdx.y;
  void *const to = sn_told(ring, state, slots, words, number);
  if (to) sn_copy_bytes(to, (const void *)state[1 + 2 * number], state[2 + 2 * number]);
  if (gridDim.x * gridDim.y > 1) return;
  __syncthreads();
  if (threadIdx.x == 0) *(volatile sn_word *)done = ++state[0];
}

#endif  // STATICNET_STAGING_CUH
