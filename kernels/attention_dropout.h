/* Which weights of an attention a dropout keeps. Included before attention.h, after philox.h. */

typedef struct {
  const uint64_t *key, *counter; /* of the random numbers; NULL: all weights stay */
  const sn_real_f32 *kept;     /* the probability that one stays */
} sn_attention_drops_f32;

static inline sn_real_f32 sn_attention_factor_f32(sn_u32 word, float kept, sn_real_f32 factor) {
  return (float)(word >> 8) * 0x1p-24f < kept ? factor : 0;
}

/* x [keys, lanes] times the factors of weights: 1 / kept, or 0 where one is dropped. Weight
   `first` + q * `apart` + k of all stands at row k and lane q; random numbers come by fours. */
SN_KERNEL void sn_attention_drop_f32(const sn_attention_drops_f32 *drops, int64_t first,
                                     int64_t apart, int64_t keys, int64_t lanes,
                                     sn_real_f32 *restrict x, int64_t ld) {
  if (!SN_DROPS_f32 || !drops->key) return;
  const sn_u64 key = *drops->key, counter = *drops->counter;
  const float kept = (float)*drops->kept;
  const sn_real_f32 factor = 1 / *drops->kept;
  int64_t k = 0;
  if (first % 4 == 0 && apart % 4 == 0)
    for (; k + 4 <= keys; k += 4)
#pragma omp simd
      for (int64_t q = 0; q < lanes; ++q) {
        sn_u32 words[4];
        sn_philox4x32_block(key, counter, (sn_u64)(first + q * apart + k) >> 2, words);
        x[k * ld + q] *= sn_attention_factor_f32(words[0], kept, factor);
        x[(k + 1) * ld + q] *= sn_attention_factor_f32(words[1], kept, factor);
        x[(k + 2) * ld + q] *= sn_attention_factor_f32(words[2], kept, factor);
        x[(k + 3) * ld + q] *= sn_attention_factor_f32(words[3], kept, factor);
      }
  for (; k < keys; ++k)
#pragma omp simd
    for (int64_t q = 0; q < lanes; ++q) {
      const sn_u32 word = sn_philox4x32(key, counter, (sn_u64)(first + q * apart + k));
      x[k * ld + q] *= sn_attention_factor_f32(word, kept, factor);
    }
}
