// Windows over the spatial axes of [planes, size, channels] arrays, one source for C and CUDA: three
// axes, of which unused ones come first with length 1. A plane is what one example has of one channel
// (channels is 1 then), or of all channels, which lie together.

#ifndef STATICNET_WINDOWS_H
#define STATICNET_WINDOWS_H

typedef struct {
  int64_t channels, size[3], windows[3], kernel[3], stride[3], low[3], gap[3];
} sn_windows;

// Where element k of window o along an axis lies: outside of [0, size) in the padding.
#define SN_WINDOW_AT(w, axis, o, k) \
  ((o) * (w)->stride[axis] - (w)->low[axis] + (k) * (w)->gap[axis])
#define SN_WINDOW_HAS(w, axis, i) ((uint64_t)(i) < (uint64_t)(w)->size[axis])

#endif  // STATICNET_WINDOWS_H
