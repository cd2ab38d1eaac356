/* A 16-bit type of convolution.h: its elements are read and written as float. Written for f16. */
typedef sn_u16 sn_stored_f16;
typedef sn_wide_f32 sn_wide_f16;
#define SN_READ_f16(x) sn_load_f16(x)
#define SN_WRITE_f16(x) sn_store_f16(x)
#define SN_FMA_f16(x, y, z) SN_FMA_f32(x, y, z)
#define SN_ALL_f16(x) SN_ALL_f32(x)
