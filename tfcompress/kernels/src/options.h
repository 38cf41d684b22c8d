/* Reads and checks the options of a custom op as they stand in a file. */
#ifndef XK_OPTIONS_H
#define XK_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum xk_pad { XK_PAD_ZERO = 0, XK_PAD_ONE = 1 };
enum xk_activation { XK_LINEAR = 0, XK_RELU = 1, XK_PRELU = 2 };

/* In the order of the file: 32-bit little-endian integers behind a magic number and a version. The
 * last two are those of version 2; in version 1 both are 1. */
struct xk_options {
  int32_t in_channels, out_channels;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t dilation_h, dilation_w;
  int32_t pad_top, pad_bottom, pad_left, pad_right;
  int32_t pad_value;  /* enum xk_pad */
  int32_t activation; /* enum xk_activation */
  int32_t add_first;  /* 1: the residual is added before the activation, not behind it */
  int32_t in_bits;    /* of an input value: 1 for signs (or bytes), 2 for levels */
  int32_t out_bits;   /* of an output value that is written as bits */
};

enum {
  XK_FIRST_OPTION_COUNT = 15, /* of version 1 */
  XK_OPTION_COUNT = 17,
  XK_FIRST_OPTION_BYTES = 4 * (XK_FIRST_OPTION_COUNT + 2),
  XK_OPTION_BYTES = 4 * (XK_OPTION_COUNT + 2),
  XK_MAGIC = 0x4b584654, /* "TFXK" */
  XK_VERSION = 2,
};

/* A value of 2 bits is a level, 0 to 3; there is a threshold for each but 0. */
enum { XK_LEVELS = 3 };

/* Limits far above any real layer. Below them no product of two sizes overflows 64 bits, and a
 * window's sum is an integer that both 32 bits and a float hold. XK_MAX_STEP holds for strides,
 * dilations, pads and a dilated kernel. */
#define XK_MAX_CHANNELS (1 << 20)
#define XK_MAX_KERNEL 64
#define XK_MAX_STEP (1 << 15)
#define XK_MAX_WINDOW (1 << 24)
/* A window of bytes: 65,536 times 255 times 127 fits in 32 bits. */
#define XK_MAX_BYTE_WINDOW (1 << 16)

/* Reads and checks options of `length` bytes, of either version. */
enum xk_status xk_read_options(const uint8_t *bytes, size_t length, struct xk_options *options);

/* Checks options that were not read from a file. */
enum xk_status xk_check_options(const struct xk_options *options);

#endif
