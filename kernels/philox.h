// Random bits: Philox 4x32-10 (Salmon et al., 2011), as ops/random.py has it. Included after math.h.

// The four words of the block with counter (block, counter) under key.
SN_FUNC void sn_philox4x32_block(sn_u64 key, sn_u64 counter, sn_u64 block, sn_u32 words[4]) {
  sn_u32 c0 = (sn_u32)block, c1 = (sn_u32)(block >> 32);
  sn_u32 c2 = (sn_u32)counter, c3 = (sn_u32)(counter >> 32);
  sn_u32 k0 = (sn_u32)key, k1 = (sn_u32)(key >> 32);
  int round;
  for (round = 0; round < 10; round++) {
    sn_u64 p0 = (sn_u64)c0 * 0xD2511F53u, p1 = (sn_u64)c2 * 0xCD9E8D57u;
    c0 = (sn_u32)(p1 >> 32) ^ c1 ^ k0;
    c2 = (sn_u32)(p0 >> 32) ^ c3 ^ k1;
    c1 = (sn_u32)p1;
    c3 = (sn_u32)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

// Element e of the draw: word e mod 4 of block e div 4.
SN_FUNC sn_u32 sn_philox4x32(sn_u64 key, sn_u64 counter, sn_u64 e) {
  sn_u32 words[4];
  sn_philox4x32_block(key, counter, e >> 2, words);
  return e & 2u ? (e & 1u ? words[3] : words[2]) : (e & 1u ? words[1] : words[0]);
}
