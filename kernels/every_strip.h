/* Strips of all heights, for sn_set_strips. Included after strips.h. */
#ifdef SN_HAS_STRIPS
SN_EVERY_HEIGHT(SN_PRODUCT_STRIPS)
const sn_strips sn_every_strip = {SN_EVERY_HEIGHT(SN_NAMES)};
#endif
