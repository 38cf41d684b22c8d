/* Sizes a convolution for its input: its output, tables, and what its padded image needs. */
#include <string.h>

#include "conv_internal.h"

/* Half a gigabyte of bits: far more than a layer needs. */
static const int64_t MOST_WORDS = INT64_C(1) << 27;

/* The taps of a window that lie in the image: first <= tap < end. */
struct reach {
  int32_t first, end;
};

/* The different reaches along one side, in order. One changes with each tap that enters or leaves, so
 * there are no more than these. */
struct reaches {
  struct reach of[2 * XK_MAX_KERNEL + 2];
  int count;
};

/* Returns the first tap at `from` or behind it, if there is one before `kernel`. */
static int32_t tap_at(int64_t from, int dilation, int kernel) {
  const int64_t tap = from > 0 ? (from + dilation - 1) / dilation : 0;
  return tap < kernel ? (int32_t)tap : kernel;
}

static struct reach reach_of(int64_t out, int64_t size, int stride, int dilation, int kernel,
                             int pad) {
  const int64_t left = pad - out * stride; /* of the image's first pixel, from the first tap on */
  struct reach reach = {tap_at(left, dilation, kernel), tap_at(left + size, dilation, kernel)};
  if (reach.end < reach.first) reach.end = reach.first;
  return reach;
}

/* Numbers the different reaches along one side. */
static enum xk_status classes(struct xk_memory *memory, int64_t outs, int64_t size, int stride,
                              int dilation, int kernel, int pad, size_t **numbers,
                              struct reaches *reaches) {
  const int most = (int)(sizeof reaches->of / sizeof reaches->of[0]);
  const enum xk_status status = xk_take(memory, (uint64_t)outs, sizeof **numbers, numbers);
  if (status != XK_OK) return status;
  reaches->count = 0;
  for (int64_t out = 0; out < outs; out++) {
    const struct reach reach = reach_of(out, size, stride, dilation, kernel, pad);
    const int last = reaches->count - 1; /* Reaches come in order: a new one differs from it. */
    if (last < 0 || reaches->of[last].first != reach.first || reaches->of[last].end != reach.end) {
      if (reaches->count == most) return XK_TOO_LARGE;
      reaches->of[reaches->count++] = reach;
    }
    (*numbers)[out] = (size_t)(reaches->count - 1);
  }
  return XK_OK;
}

/* Returns the largest count whose sum isn't below a threshold: base - threshold, of signs the half of
 * it, rounded down and limited to -1 and the largest count + 1. */
static int32_t limit_of(const struct xk_conv *c, int32_t base, int32_t threshold) {
  int64_t twice = (int64_t)base - threshold;
  if (c->unit == XK_BYTES || c->o.in_bits == 2) { /* No count is as small as the one limit, or larger than the other. */
    return (int32_t)(twice < INT32_MIN ? INT32_MIN : twice > INT32_MAX ? INT32_MAX : twice);
  }
  int64_t half = twice >= 0 ? twice / 2 : -((1 - twice) / 2);
  if (half < -1) return -1;
  return half > INT32_MAX - 1 ? INT32_MAX - 1 : (int32_t)half;
}

/* Returns the corner above and to the left of a tap. */
static const int32_t *corner(const struct xk_conv *c, int32_t y, int32_t x) {
  return c->corners + ((size_t)y * ((size_t)c->o.kernel_w + 1) + (size_t)x) * (size_t)c->channels;
}

/* Subtracts the weights whose taps lie outside. The padding's bits are those of +1, which added them
 * to the sum. */
static void leave_out(const struct xk_conv *c, struct reach rows, struct reach cols,
                      int32_t *base) {
  const int32_t *all = corner(c, c->o.kernel_h, c->o.kernel_w);
  const int32_t *a = corner(c, rows.first, cols.first), *b = corner(c, rows.first, cols.end);
  const int32_t *d = corner(c, rows.end, cols.first), *e = corner(c, rows.end, cols.end);
  for (int o = 0; o < c->o.out_channels; o++) base[o] -= all[o] - (e[o] - b[o] - d[o] + a[o]);
}

static enum xk_status fill_tables(struct xk_conv *c, int zero, const struct reaches *rows,
                                  const struct reaches *cols) {
  const int full = c->o.kernel_h * c->o.kernel_w * c->o.in_channels;
  const uint64_t pairs = (uint64_t)rows->count * (uint64_t)cols->count;
  const uint64_t entries = pairs * (uint64_t)c->channels, sets = (uint64_t)c->sets;
  enum xk_status status = xk_take(c->memory, entries, sizeof *c->base, &c->base);
  if (status == XK_OK) status = xk_take(c->memory, sets * entries, sizeof *c->limit, &c->limit);
  if (status != XK_OK) return status;
  c->entries = (size_t)entries;
  for (uint64_t pair = 0; pair < pairs; pair++) {
    int32_t *base = c->base + pair * (uint64_t)c->channels;
    for (int o = 0; o < c->channels; o++) {
      base[o] = c->unit == XK_BYTES ? zero * c->byte_sums[o]
                : c->highest != NULL ? c->highest[o] : full;
    }
    if (c->corners != NULL) {
      leave_out(c, rows->of[pair / (uint64_t)cols->count], cols->of[pair % (uint64_t)cols->count],
                base);
    }
    for (int set = 0; set < c->sets; set++) {
      int32_t *limit = c->limit + (size_t)set * c->entries + (base - c->base);
      const size_t first = (size_t)set * (size_t)c->channels;
      for (int o = 0; o < c->channels; o++) {
        limit[o] = c->threshold != NULL && o < c->o.out_channels
                       ? limit_of(c, base[o], c->threshold[first + (size_t)o])
                       : INT32_MAX;
      }
    }
  }
  return XK_OK;
}

static enum xk_status make_tables(struct xk_conv *c, int zero) {
  struct reaches rows, cols;
  const struct xk_options *o = &c->o;
  /* Padding of ones is like the image, as bytes for 0 are: a single class, as if it were very large. */
  const int differs = c->corners != NULL;
  const int64_t far = INT64_C(1) << 40;
  enum xk_status status =
      classes(c->memory, c->out.h, differs ? c->in.h : far, o->stride_h, o->dilation_h, o->kernel_h,
              differs ? o->pad_top : 0, &c->row_part, &rows);
  if (status != XK_OK) return status;
  status = classes(c->memory, c->out.w, differs ? c->in.w : far, o->stride_w, o->dilation_w,
                   o->kernel_w, differs ? o->pad_left : 0, &c->col_part, &cols);
  if (status == XK_OK) status = fill_tables(c, zero, &rows, &cols);
  if (status != XK_OK) return status;
  const size_t step = (size_t)c->channels;
  for (int64_t i = 0; i < c->out.h; i++) c->row_part[i] *= (size_t)cols.count * step;
  for (int64_t i = 0; i < c->out.w; i++) c->col_part[i] *= step;
  return XK_OK;
}

/* Finds where a window's words lie from its first one on: neighbours in a row are one stretch. */
static enum xk_status make_runs(struct xk_conv *c) {
  const struct xk_options *o = &c->o;
  const int together = o->dilation_w == 1;
  const int across = together ? 1 : o->kernel_w;
  c->runs = o->kernel_h * across;
  c->run_words = together ? o->kernel_w * c->words : c->words;
  const enum xk_status status = xk_take(c->memory, (uint64_t)o->in_bits * (uint64_t)c->runs,
                                        sizeof *c->run_offset, &c->run_offset);
  if (status != XK_OK) return status;
  for (int y = 0; y < o->kernel_h; y++) {
    for (int x = 0; x < across; x++) {
      const int64_t at = ((int64_t)y * o->dilation_h * c->padded_w +
                          (int64_t)x * o->dilation_w) * c->words;
      c->run_offset[y * across + x] = at + (o->in_bits - 1) * c->plane_words;
      if (o->in_bits == 2) c->run_offset[c->runs + y * across + x] = at;
    }
  }
  return XK_OK;
}

static void forget(struct xk_conv *c) {
  void *arrays[] = {c->run_offset, c->row_part, c->col_part, c->base, c->limit};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) xk_free(arrays[i]);
  c->run_offset = NULL;
  c->row_part = c->col_part = NULL;
  c->base = c->limit = NULL;
  memset(&c->in, 0, sizeof c->in);
}

enum xk_status xk_conv_resize(struct xk_conv *c, struct xk_shape in, int zero,
                              struct xk_shape *out) {
  const struct xk_options *o = &c->o;
  const int64_t most = INT32_MAX;
  if (in.n < 1 || in.h < 1 || in.w < 1) return XK_BAD_INPUT;
  if (in.n > most || in.h > most || in.w > most) return XK_TOO_LARGE;
  if (in.n == c->in.n && in.h == c->in.h && in.w == c->in.w) {
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
  const int64_t words = (int64_t)c->words * o->in_bits;
  if (c->padded_w > MOST_WORDS / words || c->padded_h > MOST_WORDS / (c->padded_w * words) ||
      in.n > MOST_WORDS / (c->padded_h * c->padded_w * words)) {
    return XK_TOO_LARGE;
  }
  c->plane_words = in.n * c->padded_h * c->padded_w * c->words;
  /* Of outputs there are no more than padded pixels. */
  if (in.n * c->out.h * c->out.w > most / o->out_channels) return XK_TOO_LARGE;
  if (in.n * in.h * in.w > most / o->in_channels) return XK_TOO_LARGE;
  c->in = in;
  enum xk_status status = make_runs(c);
  if (status == XK_OK) status = make_tables(c, zero);
  if (status != XK_OK) {
    forget(c);
    return status;
  }
  *out = c->out;
  return XK_OK;
}

uint64_t xk_conv_scratch(const struct xk_conv *c, enum xk_type input) {
  if (input == XK_BITS && !c->border) return 0;
  return 4 * (uint64_t)c->plane_words * (uint64_t)c->o.in_bits;
}
