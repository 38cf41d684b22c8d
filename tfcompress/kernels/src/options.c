#include "options.h"

#include <string.h>

const char *xk_status_text(enum xk_status status) {
  switch (status) {
    case XK_OK:
      return "ok";
    case XK_BAD_OPTIONS:
      return "its options are not of this version or out of range";
    case XK_BAD_INPUT:
      return "its input has another type or shape than its options say";
    case XK_BAD_CONSTANT:
      return "its weights or channel values are missing, not constant or of the wrong size";
    case XK_BAD_OUTPUT:
      return "its output has a type that it can't write";
    case XK_BAD_PADS:
      return "a pad is as large as the dilated kernel, or larger";
    case XK_TOO_LARGE:
      return "its sizes are too large";
    case XK_OVER_BUDGET:
      return "it needs more memory than the delegate may take for this file";
    case XK_NO_MEMORY:
      return "out of memory";
  }
  return "unknown status";
}

static int32_t read_int(const uint8_t *bytes) {
  uint32_t value = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                   (uint32_t)bytes[3] << 24;
  int32_t result;
  memcpy(&result, &value, sizeof result);
  return result;
}

static int within(int32_t value, int32_t low, int32_t high) {
  return value >= low && value <= high;
}

/* Checks one side of a window: a pad as large as it would make windows without a pixel, and padding
 * of any size out of a small input. */
static enum xk_status check_side(int32_t kernel, int32_t dilation, int32_t before, int32_t after) {
  const int64_t reach = (int64_t)(kernel - 1) * dilation + 1;
  if (reach > XK_MAX_STEP) return XK_TOO_LARGE;
  return before < reach && after < reach ? XK_OK : XK_BAD_PADS;
}

enum xk_status xk_check_options(const struct xk_options *o) {
  const int32_t kernels[] = {o->kernel_h, o->kernel_w};
  const int32_t steps[] = {o->stride_h, o->stride_w, o->dilation_h, o->dilation_w};
  const int32_t pads[] = {o->pad_top, o->pad_bottom, o->pad_left, o->pad_right};
  for (int i = 0; i < 2; i++) {
    if (!within(kernels[i], 1, XK_MAX_KERNEL)) return XK_BAD_OPTIONS;
  }
  for (int i = 0; i < 4; i++) {
    if (!within(steps[i], 1, XK_MAX_STEP) || !within(pads[i], 0, XK_MAX_STEP)) {
      return XK_BAD_OPTIONS;
    }
  }
  if (!within(o->in_channels, 1, XK_MAX_CHANNELS) || !within(o->out_channels, 1, XK_MAX_CHANNELS) ||
      !within(o->pad_value, XK_PAD_ZERO, XK_PAD_ONE) ||
      !within(o->activation, XK_LINEAR, XK_PRELU) || !within(o->add_first, 0, 1) ||
      !within(o->in_bits, 1, 2) || !within(o->out_bits, 1, 2) ||
      (o->in_bits == 2 && o->pad_value != XK_PAD_ZERO)) {
    return XK_BAD_OPTIONS;
  }
  const int64_t highest = o->in_bits == 2 ? XK_LEVELS : 1;
  if (highest * o->kernel_h * o->kernel_w * o->in_channels > XK_MAX_WINDOW) return XK_TOO_LARGE;
  const enum xk_status status = check_side(o->kernel_h, o->dilation_h, o->pad_top, o->pad_bottom);
  if (status != XK_OK) return status;
  return check_side(o->kernel_w, o->dilation_w, o->pad_left, o->pad_right);
}

enum xk_status xk_read_options(const uint8_t *bytes, size_t length, struct xk_options *options) {
  int32_t values[XK_OPTION_COUNT];
  if (bytes == NULL || (length != XK_FIRST_OPTION_BYTES && length != XK_OPTION_BYTES)) {
    return XK_BAD_OPTIONS;
  }
  const int count = length == XK_OPTION_BYTES ? XK_OPTION_COUNT : XK_FIRST_OPTION_COUNT;
  const int version = length == XK_OPTION_BYTES ? XK_VERSION : 1;
  if (read_int(bytes) != XK_MAGIC || read_int(bytes + 4) != version) return XK_BAD_OPTIONS;
  for (int i = 0; i < XK_OPTION_COUNT; i++) {
    values[i] = i < count ? read_int(bytes + 8 + 4 * i) : 1;
  }
  *options = (struct xk_options){
      .in_channels = values[0],
      .out_channels = values[1],
      .kernel_h = values[2],
      .kernel_w = values[3],
      .stride_h = values[4],
      .stride_w = values[5],
      .dilation_h = values[6],
      .dilation_w = values[7],
      .pad_top = values[8],
      .pad_bottom = values[9],
      .pad_left = values[10],
      .pad_right = values[11],
      .pad_value = values[12],
      .activation = values[13],
      .add_first = values[14],
      .in_bits = values[15],
      .out_bits = values[16],
  };
  return xk_check_options(options);
}
