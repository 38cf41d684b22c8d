/* Sizes a convolution for its input: tables, and memory for the padded image. */
#include <string.h>

#include "conv_internal.h"
#include "memory.h"

/* Half a gigabyte of bits, and seconds of work: far more than a layer needs, and so little that a
 * bad file can do no harm. */
static const int64_t MOST_WORDS = INT64_C(1) << 27;
static const uint64_t MOST_TABLE_STEPS = UINT64_C(1) << 30;

/* The taps of a window that lie in the image: first <= tap < end. */
struct reach {
  int32_t first, end;
};

static struct reach reach_of(int64_t out, int64_t size, int stride, int dilation, int kernel,
                             int pad) {
  struct reach reach = {0, 0};
  for (int32_t tap = 0; tap < kernel; tap++) {
    int64_t at = out * stride - pad + (int64_t)tap * dilation;
    if (at < 0 && reach.first == tap) reach.first = tap + 1;
    if (at < size) reach.end = tap + 1;
  }
  if (reach.end < reach.first) reach.end = reach.first;
  return reach;
}

/* Numbers the different reaches along one side. Returns how many there are; -1 on failure. */
static int classes(int64_t outs, int64_t size, int stride, int dilation, int kernel, int pad,
                   size_t **numbers, struct reach **reaches) {
  int count = 0;
  *numbers = xk_zeroed((uint64_t)outs, sizeof **numbers);
  /* A reach changes with each tap that enters or leaves, so there are no more than these. */
  int most = 2 * kernel + 2;
  *reaches = xk_zeroed((uint64_t)most, sizeof **reaches);
  if (*numbers == NULL || *reaches == NULL) return -1;
  for (int64_t out = 0; out < outs; out++) {
    struct reach reach = reach_of(out, size, stride, dilation, kernel, pad);
    int found = count - 1; /* Reaches come in order: a new one differs from the last. */
    if (found < 0 || (*reaches)[found].first != reach.first || (*reaches)[found].end != reach.end) {
      if (count == most) return -1;
      (*reaches)[count] = reach;
      found = count++;
    }
    (*numbers)[out] = (size_t)found;
  }
  return count;
}

/* Returns floor((base - threshold) / 2), limited to -1 and the largest count + 1. */
static int32_t limit_of(int32_t base, int32_t threshold) {
  int64_t twice = (int64_t)base - threshold;
  int64_t half = twice >= 0 ? twice / 2 : -((1 - twice) / 2);
  if (half < -1) return -1;
  return half > INT32_MAX - 1 ? INT32_MAX - 1 : (int32_t)half;
}

static enum xk_status fill_tables(struct xk_conv *c, const struct reach *rows, int row_count,
                                  const struct reach *cols, int col_count) {
  const int taps = c->o.kernel_h * c->o.kernel_w;
  const int full = taps * c->o.in_channels;
  const uint64_t entries = (uint64_t)row_count * (uint64_t)col_count * (uint64_t)c->channels;
  if (entries * (uint64_t)taps > MOST_TABLE_STEPS) return XK_TOO_LARGE;
  c->base = xk_zeroed(entries, sizeof *c->base);
  c->limit = xk_zeroed(entries, sizeof *c->limit);
  if (c->base == NULL || c->limit == NULL) return XK_NO_MEMORY;
  for (int r = 0; r < row_count; r++) {
    for (int q = 0; q < col_count; q++) {
      int32_t *base = c->base + ((size_t)r * (size_t)col_count + (size_t)q) * (size_t)c->channels;
      int32_t *limit = c->limit + (base - c->base);
      for (int o = 0; o < c->channels; o++) base[o] = full;
      for (int t = 0; t < taps && c->tap_sums != NULL; t++) {
        int y = t / c->o.kernel_w, x = t % c->o.kernel_w;
        if (y >= rows[r].first && y < rows[r].end && x >= cols[q].first && x < cols[q].end) {
          continue;
        }
        /* The padding's bits are those of +1, which added the tap's weights to the sum. */
        for (int o = 0; o < c->o.out_channels; o++) {
          base[o] -= c->tap_sums[(size_t)t * (size_t)c->channels + (size_t)o];
        }
      }
      for (int o = 0; o < c->channels; o++) {
        limit[o] = c->threshold != NULL && o < c->o.out_channels
                       ? limit_of(base[o], c->threshold[o])
                       : INT32_MAX;
      }
    }
  }
  return XK_OK;
}

static enum xk_status make_tables(struct xk_conv *c) {
  struct reach *rows = NULL, *cols = NULL;
  const struct xk_options *o = &c->o;
  /* Padding of ones is like the image: a single class, as if it were very large. */
  const int zero = o->pad_value == XK_PAD_ZERO && c->border;
  const int64_t far = INT64_C(1) << 40;
  int row_count = classes(c->out.h, zero ? c->in.h : far, o->stride_h, o->dilation_h, o->kernel_h,
                          zero ? o->pad_top : 0, &c->row_part, &rows);
  int col_count = classes(c->out.w, zero ? c->in.w : far, o->stride_w, o->dilation_w, o->kernel_w,
                          zero ? o->pad_left : 0, &c->col_part, &cols);
  enum xk_status status = XK_NO_MEMORY;
  if (row_count > 0 && col_count > 0) {
    status = fill_tables(c, rows, row_count, cols, col_count);
    const size_t step = (size_t)c->channels;
    for (int64_t i = 0; i < c->out.h; i++) c->row_part[i] *= (size_t)col_count * step;
    for (int64_t i = 0; i < c->out.w; i++) c->col_part[i] *= step;
  }
  xk_free(rows);
  xk_free(cols);
  return status;
}

/* Finds where a window's words lie from its first one on: neighbours in a row are one stretch. */
static enum xk_status make_runs(struct xk_conv *c) {
  const struct xk_options *o = &c->o;
  const int together = o->dilation_w == 1;
  const int across = together ? 1 : o->kernel_w;
  c->runs = o->kernel_h * across;
  c->run_words = together ? o->kernel_w * c->words : c->words;
  c->run_offset = xk_zeroed((uint64_t)c->runs, sizeof *c->run_offset);
  if (c->run_offset == NULL) return XK_NO_MEMORY;
  for (int y = 0; y < o->kernel_h; y++) {
    for (int x = 0; x < across; x++) {
      c->run_offset[y * across + x] = ((int64_t)y * o->dilation_h * c->padded_w +
                                       (int64_t)x * o->dilation_w) * c->words;
    }
  }
  return XK_OK;
}

static void forget(struct xk_conv *c) {
  void **arrays[] = {(void **)&c->image,     (void **)&c->run_offset, (void **)&c->row_part,
                     (void **)&c->col_part, (void **)&c->base,       (void **)&c->limit};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
    xk_free(*arrays[i]);
    *arrays[i] = NULL;
  }
  memset(&c->in, 0, sizeof c->in);
}

enum xk_status xk_conv_resize(struct xk_conv *c, struct xk_shape in, struct xk_shape *out) {
  const struct xk_options *o = &c->o;
  const int64_t most = INT32_MAX;
  if (in.n < 1 || in.h < 1 || in.w < 1) return XK_BAD_INPUT;
  if (in.n > most || in.h > most || in.w > most) return XK_TOO_LARGE;
  if (c->image != NULL && in.n == c->in.n && in.h == c->in.h && in.w == c->in.w) {
    *out = c->out;
    return XK_OK;
  }
  forget(c);
  c->padded_h = in.h + o->pad_top + o->pad_bottom;
  c->padded_w = in.w + o->pad_left + o->pad_right;
  const int64_t reach_h = (int64_t)(o->kernel_h - 1) * o->dilation_h + 1;
  const int64_t reach_w = (int64_t)(o->kernel_w - 1) * o->dilation_w + 1;
  if (reach_h > c->padded_h || reach_w > c->padded_w) return XK_BAD_INPUT;
  c->out = (struct xk_shape){in.n, (c->padded_h - reach_h) / o->stride_h + 1,
                             (c->padded_w - reach_w) / o->stride_w + 1};
  if (c->padded_w > MOST_WORDS / c->words ||
      c->padded_h > MOST_WORDS / (c->padded_w * c->words) ||
      in.n > MOST_WORDS / (c->padded_h * c->padded_w * c->words)) {
    return XK_TOO_LARGE;
  }
  /* Of outputs there are no more than padded pixels. */
  if (in.n * c->out.h * c->out.w > most / o->out_channels) return XK_TOO_LARGE;
  if (in.n * in.h * in.w > most / o->in_channels) return XK_TOO_LARGE;
  c->border = o->pad_top + o->pad_bottom + o->pad_left + o->pad_right > 0;
  c->in = in;
  c->image = xk_zeroed((uint64_t)(in.n * c->padded_h * c->padded_w), 4 * (uint64_t)c->words);
  enum xk_status status = c->image == NULL ? XK_NO_MEMORY : make_runs(c);
  if (status == XK_OK) status = make_tables(c);
  if (status != XK_OK) {
    forget(c);
    return status;
  }
  *out = c->out;
  return XK_OK;
}
