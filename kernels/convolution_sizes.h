/* A convolution, or if it is `backward` its gradient by the input, of images of up to three axes,
   the first first and those that lack of length 1; inputs and outputs are of a group. A band is
   `rows` of the result's first axis or, if that is 0, `images` whole ones. Its panels are shared by
   `splits` tasks. Of the scratch memory each of `threads` has `room` elements: the box, what is
   read or written with it, and tables. A gradient of weights is the sum of so many `sums`, and has
   at most so many `lines` of pixels in a band. If it is `flat`, of one tap without strides and
   padding, it is a product of matrices where they lie, channels first, and so many panels of pixels
   are packed at a time. If it is `single`, a group has one input and one output, and a panel is of
   groups. If it goes by `planes`, so many outputs meet vectors of pixels; if by Winograd's `tiles`,
   a band has at most so many; if by `patches`, so many panels of these are packed at a time. If it is
   `held`, w are weights that were packed before. Other gradients of weights pack so many `panels` of
   y, and then so many `deep` channels of x. */
typedef struct {
  int64_t n, groups, inputs, outputs, last, backward;
  int64_t size[3], kernel[3], out[3], stride[3], low[3], dilation[3];
  int64_t rows, images, splits, box, room, threads, sums, lines, flat, single, planes, tiles, patches;
  int64_t held, panels, deep;
} sn_convolution;
typedef void sn_convolution_call(const sn_convolution *, const void *, const void *, void *, void *,
                                 int);
