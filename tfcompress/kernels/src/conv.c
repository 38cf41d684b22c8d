#include "conv.h"

#include <string.h>

#include "conv_internal.h"

/* Copies rows of channels and fills them up to whole blocks: vectors may read beyond the last. */
static enum xk_status channel_values(struct xk_memory *memory, const void *from, int rows,
                                     int channels, int padded, void *to) {
  uint8_t *values = NULL;
  const size_t bytes = 4 * (size_t)channels;
  const enum xk_status status = xk_take(memory, (uint64_t)rows * (uint64_t)padded, 4, &values);
  if (status != XK_OK) return status;
  for (int row = 0; row < rows && from != NULL; row++) {
    memcpy(values + 4 * (size_t)row * (size_t)padded, (const uint8_t *)from + (size_t)row * bytes,
           bytes);
  }
  memcpy(to, &values, sizeof values);
  return XK_OK;
}

/* Copies `count` bits from bit `start` on to words; the rest of the last word is 0. */
static void cut(const uint8_t *bits, uint64_t start, int count, uint32_t *words) {
  for (int done = 0; done < count; done += 8) {
    uint64_t at = start + (uint64_t)done;
    int left = count - done < 8 ? count - done : 8;
    int shift = (int)(at % 8);
    unsigned byte = bits[at / 8] >> shift;
    if (shift + left > 8) byte |= (unsigned)bits[at / 8 + 1] << (8 - shift);
    byte &= (1u << left) - 1;
    int word = done / 32;
    if (done % 32 == 0) words[word] = 0;
    words[word] |= (uint32_t)byte << done % 32;
  }
}

static int ones(uint32_t v) {
  int count = 0;
  for (; v != 0; v &= v - 1) count++;
  return count;
}

/* Puts a tap's words among the weights of a filter, in the order in which the kernels read them.
 * Returns how many of its bits are 1, which stands for -1. */
static int put_tap(struct xk_conv *c, int filter, int tap, const uint32_t *words) {
  const int of_bytes = c->unit == XK_BYTES;
  const size_t unit = (size_t)(of_bytes ? c->isa->byte_unit_bytes : c->isa->unit_bytes);
  const size_t units = 4 / unit; /* of a word */
  uint8_t *block = c->weights + (size_t)(filter / XK_LANES) * c->block_bytes;
  int negative = 0;
  for (int k = 0; k < c->words; k++) {
    uint8_t bytes[4] = {(uint8_t)words[k], (uint8_t)(words[k] >> 8), (uint8_t)(words[k] >> 16),
                        (uint8_t)(words[k] >> 24)};
    size_t first = ((size_t)tap * (size_t)c->words + (size_t)k) * units;
    for (size_t u = 0; u < units; u++) {
      size_t place = ((first + u) * XK_LANES + (size_t)(filter % XK_LANES)) * unit;
      memcpy(block + place, bytes + u * unit, unit);
    }
    negative += ones(words[k]);
  }
  return negative;
}

/* Adds a tap's sum of weights to the corner behind it, when those above and to the left are done. */
static void add_corner(struct xk_conv *c, int filter, int tap, int sum) {
  const size_t across = (size_t)c->o.kernel_w + 1, channels = (size_t)c->channels;
  const size_t y = (size_t)(tap / c->o.kernel_w), x = (size_t)(tap % c->o.kernel_w);
  int32_t *above = c->corners + (y * across + x) * channels + (size_t)filter;
  int32_t *below = above + across * channels;
  below[channels] = sum + above[channels] + below[0] - above[0];
}

/* Copies a tap's weights of bytes to words, negated. Returns their sum. */
static int32_t negated(const int8_t *from, int count, uint32_t *words) {
  int32_t sum = 0;
  for (int i = 0; i < count; i++) {
    if (i % 4 == 0) words[i / 4] = 0;
    words[i / 4] |= (uint32_t)(uint8_t)-from[i] << i % 4 * 8;
    sum -= from[i];
  }
  return sum;
}

/* Returns whether 16 bits hold the sums of so many words' bytes; see `struct xk_conv`. */
static int pairs_fit(const struct xk_conv *c, const int8_t *bytes, int words) {
  enum { MOST = INT16_MAX / UINT8_MAX };
  const int in = c->o.in_channels, taps = c->o.kernel_h * c->o.kernel_w;
  for (int o = 0; o < c->o.out_channels; o++) {
    int sums[2][2] = {{0}}, filled = 0; /* of each pair what isn't negative, and what is */
    for (int t = 0; t < taps; t++, bytes += in) {
      for (int i = 0; i < in; i++) {
        if (i % 4 == 0 && filled++ == words) {
          memset(sums, 0, sizeof sums);
          filled = 1;
        }
        int *sum = &sums[i % 4 / 2][bytes[i] < 0];
        *sum += bytes[i] < 0 ? -bytes[i] : bytes[i];
        if (*sum > MOST) return 0;
      }
    }
  }
  return 1;
}

/* Does what `repack` does, of weights of bytes. */
static enum xk_status repack_bytes(struct xk_conv *c, const int8_t *bytes, size_t count) {
  const int taps = c->o.kernel_h * c->o.kernel_w;
  uint32_t *words = NULL;
  for (size_t i = 0; i < count; i++) {
    if (bytes[i] == INT8_MIN) return XK_BAD_CONSTANT; /* Its negative is no byte. */
  }
  c->pair_words = taps * c->words < XK_CHUNK ? taps * c->words : XK_CHUNK;
  while (c->pair_words > 0 && !pairs_fit(c, bytes, c->pair_words)) c->pair_words /= 2;
  c->block_bytes = (size_t)taps * (size_t)c->words * 4 * XK_LANES;
  enum xk_status status = xk_take(c->memory, (uint64_t)c->blocks, c->block_bytes, &c->weights);
  if (status == XK_OK) {
    status = xk_take(c->memory, (uint64_t)c->channels, sizeof *c->byte_sums, &c->byte_sums);
  }
  if (status == XK_OK) status = xk_take(c->memory, (uint64_t)c->words, 4, &words);
  if (status != XK_OK) return status;
  for (int o = 0; o < c->o.out_channels; o++) {
    for (int t = 0; t < taps; t++, bytes += c->o.in_channels) {
      c->byte_sums[o] += negated(bytes, c->o.in_channels, words);
      put_tap(c, o, t, words);
    }
  }
  xk_free(words);
  return XK_OK;
}

/* Puts the file's weights into the order in which the kernels read them. A bit of a level is 1, and a
 * sign's is 0, where it adds to the sum, so that weights for levels are inverted: in either case
 * each difference makes a sum smaller. Padding with the level 0 is then any word of zeros. */
static enum xk_status repack(struct xk_conv *c, const uint8_t *bits) {
  const int taps = c->o.kernel_h * c->o.kernel_w;
  const uint64_t corners = (uint64_t)(c->o.kernel_h + 1) * (uint64_t)(c->o.kernel_w + 1);
  const int levels = c->o.in_bits == 2, rest = c->o.in_channels % 32;
  uint32_t *words = NULL;
  c->block_bytes = (size_t)taps * (size_t)c->words * 4 * XK_LANES;
  enum xk_status status = xk_take(c->memory, (uint64_t)c->blocks, c->block_bytes, &c->weights);
  if (status == XK_OK && levels) {
    status = xk_take(c->memory, (uint64_t)c->channels, sizeof *c->highest, &c->highest);
  } else if (status == XK_OK && c->o.pad_value == XK_PAD_ZERO && c->border) {
    status = xk_take(c->memory, corners * (uint64_t)c->channels, sizeof *c->corners, &c->corners);
  }
  if (status == XK_OK) status = xk_take(c->memory, (uint64_t)c->words, 4, &words);
  if (status != XK_OK) return status;
  for (int o = 0; o < c->o.out_channels; o++) {
    for (int t = 0; t < taps; t++) {
      uint64_t tap = (uint64_t)o * (uint64_t)taps + (uint64_t)t;
      cut(bits, tap * (uint64_t)c->o.in_channels, c->o.in_channels, words);
      for (int k = 0; k < c->words && levels; k++) words[k] = ~words[k];
      if (levels && rest != 0) words[c->words - 1] &= (1u << rest) - 1;
      const int set = put_tap(c, o, t, words);
      if (levels) c->highest[o] += XK_LEVELS * set;
      if (c->corners != NULL) add_corner(c, o, t, c->o.in_channels - 2 * set);
    }
  }
  xk_free(words);
  return XK_OK;
}

static enum xk_status fill(struct xk_conv *c, const struct xk_constants *from) {
  const struct xk_options *o = &c->o;
  const uint64_t window = (uint64_t)o->kernel_h * (uint64_t)o->kernel_w * (uint64_t)o->in_channels;
  const uint64_t count = window * (uint64_t)o->out_channels;
  const uint64_t wanted_bytes = c->unit == XK_BYTES ? count : (count + 7) / 8;
  if (from->weights == NULL || from->weights_bytes != wanted_bytes) return XK_BAD_CONSTANT;
  if (c->unit == XK_BYTES && window > XK_MAX_BYTE_WINDOW) return XK_TOO_LARGE;
  const struct {
    const void *from;
    void *to;
    int wanted, rows;
  } arrays[] = {
      {from->scale, &c->scale, !c->bits_only, 1},
      {from->bias, &c->bias, !c->bits_only, 1},
      {o->activation == XK_PRELU ? from->slope : NULL, &c->slope,
       !c->bits_only && o->activation == XK_PRELU, 1},
      {from->threshold, &c->threshold, c->bits_only, c->sets},
      {from->post_scale, &c->post_scale, from->post_bias != NULL, 1},
      {from->post_bias, &c->post_bias, from->post_scale != NULL, 1},
  };
  enum xk_status status;
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
    if (arrays[i].from == NULL && arrays[i].wanted) return XK_BAD_CONSTANT;
    if (arrays[i].from == NULL) continue;
    status = channel_values(c->memory, arrays[i].from, arrays[i].rows, o->out_channels, c->channels,
                            arrays[i].to);
    if (status != XK_OK) return status;
  }
  status = channel_values(c->memory, from->flip, 1, from->flip != NULL ? c->out_words : 0,
                          c->channels / 32, &c->flip);
  if (status != XK_OK) return status;
  for (int i = 0; i < c->out_words && o->out_bits == 2; i++) c->flip[i] = ~c->flip[i];
  if (from->levels != NULL) memcpy(c->levels, from->levels, sizeof c->levels);
  /* A bit beyond the last channel would count in the next op's sums. */
  if (o->out_channels % 32 != 0) {
    c->flip[c->out_words - 1] &= (1u << o->out_channels % 32) - 1;
  }
  if (c->unit == XK_BYTES) return repack_bytes(c, from->weights, (size_t)count);
  return repack(c, from->weights);
}

enum xk_status xk_conv_create(const struct xk_options *options, const struct xk_constants *constants,
                              const struct xk_isa *isa, int bits_only, struct xk_memory *memory,
                              struct xk_conv **conv) {
  struct xk_conv *c = NULL;
  enum xk_status status = xk_check_options(options);
  *conv = NULL;
  if (status == XK_OK) status = xk_take(memory, 1, sizeof *c, &c);
  if (status != XK_OK) return status;
  c->o = *options;
  c->isa = isa;
  c->memory = memory;
  c->bits_only = bits_only;
  c->border =
      options->pad_top + options->pad_bottom + options->pad_left + options->pad_right > 0;
  c->unit = constants->unit;
  c->sets = options->out_bits == 2 ? XK_LEVELS : 1;
  const int in_a_word = c->unit == XK_BYTES ? 4 : 32;
  c->words = (options->in_channels + in_a_word - 1) / in_a_word;
  c->out_words = (options->out_channels + 31) / 32;
  c->blocks = (options->out_channels + XK_LANES - 1) / XK_LANES;
  c->channels = c->blocks * XK_LANES;
  status = fill(c, constants);
  if (status != XK_OK) {
    xk_conv_destroy(c);
    return status;
  }
  *conv = c;
  return XK_OK;
}

void xk_conv_destroy(struct xk_conv *c) {
  if (c == NULL) return;
  void *arrays[] = {c->weights, c->scale,      c->bias,     c->slope,    c->post_scale,
                    c->post_bias, c->threshold, c->flip,     c->corners,  c->run_offset,
                    c->row_part,  c->col_part,  c->base,     c->limit,    c->byte_sums,
                    c->highest, c};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) xk_free(arrays[i]);
}
