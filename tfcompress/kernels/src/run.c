/* Runs a convolution: packs the input as bits with the padding around them, then counts differences
 * in each window. */
#include <math.h>
#include <string.h>

#include "conv_internal.h"

/* Below so much work (words times blocks of 64 channels; numbers to pack) one thread is done before
 * another wakes up. */
enum { WORDS_FOR_THREADS = 8192, NUMBERS_FOR_THREADS = 1 << 15, SETS_A_PART = 8 };

struct job {
  struct xk_conv *c;
  const struct xk_values *input, *residual, *output;
  uint32_t *bits;
  uint32_t *scratch; /* the padded image, if the input isn't read where it is */
  const uint32_t *image;
};

/* Finds this part's share of `count` things. */
static void share(int64_t count, int part, int parts, int64_t *first, int64_t *end) {
  *first = count * part / parts;
  *end = count * (part + 1) / parts;
}

/* Makes two planes of the bits that say where numbers are below each level's begin. */
static void to_planes(uint32_t below[XK_LEVELS], uint32_t inverted, uint32_t *first,
                      uint32_t *second) {
  *first = below[0] ^ below[1] ^ below[2] ^ inverted;
  *second = below[1] ^ inverted;
}

/* Packs numbers as levels. */
static void pack_levels(const struct xk_conv *c, const float *from, int64_t count, uint32_t *to) {
  enum { WORDS = 16 };
  uint32_t below[XK_LEVELS][WORDS];
  for (; count > 0; count -= 32 * WORDS, from += 32 * WORDS) {
    const int64_t here = count < 32 * WORDS ? count : 32 * WORDS;
    for (int i = 0; i < XK_LEVELS; i++) {
      c->isa->pack_f32(from, (size_t)here, c->levels[i], below[i]);
    }
    for (int64_t word = 0; 32 * word < here; word++, to++) {
      uint32_t of[XK_LEVELS] = {below[0][word], below[1][word], below[2][word]};
      const int64_t left = here - 32 * word;
      to_planes(of, left < 32 ? (1u << left) - 1 : UINT32_MAX, to, to + c->plane_words);
    }
  }
}

static void pack(const struct xk_conv *c, const struct xk_values *from, int64_t first,
                 int64_t count, uint32_t *to) {
  if (c->o.in_bits == 2) {
    pack_levels(c, (const float *)from->data + first, count, to);
  } else if (from->type == XK_F32) {
    c->isa->pack_f32((const float *)from->data + first, (size_t)count, 0.0f, to);
  } else {
    c->isa->pack_i8((const int8_t *)from->data + first, (size_t)count, from->zero, to);
  }
}

/* Packs pixels of bytes, whose words may have room left. */
static void pack_bytes(const uint8_t *from, int64_t pixels, int channels, int words, uint32_t *to) {
  if (channels == 3) {
    for (int64_t i = 0; i < pixels; i++, from += 3) {
      to[i] = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16;
    }
    return;
  }
  for (int64_t i = 0; i < pixels; i++, from += channels, to += words) {
    for (int c = 0; c < channels; c++) {
      if (c % 4 == 0) to[c / 4] = 0;
      to[c / 4] |= (uint32_t)from[c] << c % 4 * 8;
    }
  }
}

/* Packs one row of the input, in all planes. */
static void pack_row(const struct job *job, int64_t row, uint32_t *to) {
  const struct xk_conv *c = job->c;
  const int64_t channels = c->o.in_channels;
  if (job->input->type == XK_BITS) {
    const uint32_t *from = (const uint32_t *)job->input->data + row * c->in.w * c->words;
    memcpy(to, from, 4 * (size_t)(c->in.w * c->words));
    if (c->o.in_bits == 2) {
      from += c->in.n * c->in.h * c->in.w * c->words;
      memcpy(to + c->plane_words, from, 4 * (size_t)(c->in.w * c->words));
    }
  } else if (job->input->type == XK_U8) {
    const uint8_t *from = (const uint8_t *)job->input->data + row * c->in.w * channels;
    pack_bytes(from, c->in.w, (int)channels, c->words, to);
  } else if (channels % 32 == 0) { /* A row's words follow one another as its numbers do. */
    pack(c, job->input, row * c->in.w * channels, c->in.w * channels, to);
  } else {
    for (int64_t x = 0; x < c->in.w; x++) {
      pack(c, job->input, (row * c->in.w + x) * channels, channels, to + x * c->words);
    }
  }
}

/* Fills the few words beside a row: calling `memset` for them took 1% of a small net's time. */
static void fill(uint32_t *to, size_t words, int byte) {
  if (words > 64) {
    memset(to, byte, 4 * words);
    return;
  }
  for (; words > 0; words--) {
    *to++ = (uint32_t)byte * 0x01010101u;
    __asm__ volatile("" : : : "memory"); /* Else the compiler calls it. */
  }
}

/* Writes some rows of the padded image. Padding is written each time: other ops use the scratch. */
static void pack_rows(void *context, int part, int parts) {
  const struct job *job = context;
  const struct xk_conv *c = job->c;
  const size_t left = (size_t)c->o.pad_left * (size_t)c->words;
  const size_t right = (size_t)c->o.pad_right * (size_t)c->words;
  const size_t words = (size_t)(c->padded_w * c->words);
  const int around = job->input->type == XK_U8 ? job->input->zero : 0;
  int64_t row, end;
  share(c->in.n * c->padded_h, part, parts, &row, &end);
  for (; row < end; row++) {
    const int64_t y = row % c->padded_h - c->o.pad_top;
    uint32_t *to = job->scratch + row * c->padded_w * c->words;
    for (int plane = 0; plane < c->o.in_bits; plane++) {
      uint32_t *here = to + plane * c->plane_words;
      if (y < 0 || y >= c->in.h) {
        memset(here, around, 4 * words);
        continue;
      }
      fill(here, left, around);
      fill(here + words - right, right, around);
    }
    if (y >= 0 && y < c->in.h) pack_row(job, row / c->padded_h * c->in.h + y, to + left);
  }
}

/* Rounds as the runtime's own conversion does on vectors: to the nearest, halves to even. */
static int8_t quantized(float value, float scale, int zero) {
  float steps = rintf(value / scale) + (float)zero;
  if (!(steps > -128.0f)) return -128;
  return steps < 127.0f ? (int8_t)steps : 127;
}

/* Returns an operand's block as floats. */
static const float *real_numbers(const struct xk_values *from, int64_t at, int count, float *to) {
  if (from->type == XK_F32) return (const float *)from->data + at;
  const int8_t *steps = (const int8_t *)from->data + at;
  for (int i = 0; i < count; i++) to[i] = from->scale * (float)(steps[i] - from->zero);
  return to;
}

/* Returns what is done to a block's sums, without what differs from pixel to pixel. */
static struct xk_affine affine_of(const struct job *job, int block) {
  const struct xk_conv *c = job->c;
  const int first = block * XK_LANES, left = c->o.out_channels - first;
  return (struct xk_affine){
      .scale = c->scale + first,
      .bias = c->bias + first,
      .slope = c->slope != NULL ? c->slope + first : NULL,
      .relu = c->o.activation == XK_RELU,
      .shift = c->unit == XK_SIGNS && c->o.in_bits == 1,
      .add_first = c->o.add_first,
      .channels = left < XK_LANES ? left : XK_LANES,
  };
}

/* Writes the numbers of a block of some pixels, as floats or 8-bit integers, and their signs. */
static void write_numbers(const struct job *job, const struct xk_window *window,
                          struct xk_affine *affine, int64_t pixel, int block,
                          const size_t *class) {
  const struct xk_conv *c = job->c;
  const int first = block * XK_LANES, channels = affine->channels;
  const int64_t at = pixel * c->o.out_channels + first;
  const int floats = job->output->type == XK_F32 && job->output->data != NULL;
  const int steps = job->output->type == XK_I8 && job->output->data != NULL;
  float real[XK_PIXELS][XK_LANES], y[XK_PIXELS][XK_LANES];
  for (int p = 0; p < window->pixels; p++) {
    const int64_t here = at + (int64_t)p * c->o.out_channels;
    affine->base[p] = c->base + class[p];
    affine->y[p] = floats ? (float *)job->output->data + here : y[p];
  }
  for (int p = 0; p < window->pixels && job->residual->data != NULL; p++) {
    const int64_t here = at + (int64_t)p * c->o.out_channels;
    affine->residual[p] = real_numbers(job->residual, here, channels, real[p]);
  }
  c->isa->numbers(window, affine);
  for (int p = 0; p < window->pixels && steps; p++) {
    int8_t *to = (int8_t *)job->output->data + at + (int64_t)p * c->o.out_channels;
    for (int i = 0; i < channels; i++) {
      to[i] = quantized(y[p][i], job->output->scale, job->output->zero);
    }
  }
  for (int p = 0; p < window->pixels && job->bits != NULL; p++) {
    const float *value = affine->y[p];
    if (c->post_scale != NULL) {
      for (int i = 0; i < channels; i++) {
        float scaled = value[i] * c->post_scale[first + i];
        real[p][i] = scaled + c->post_bias[first + i];
      }
      value = real[p];
    }
    c->isa->pack_f32(value, (size_t)channels, 0.0f,
                     job->bits + (pixel + p) * c->out_words + 2 * block);
  }
}

/* Writes the bits of a block of some pixels. */
static void write_bits(const struct job *job, const struct xk_window *window, int64_t pixel,
                       int block, const size_t *class) {
  const struct xk_conv *c = job->c;
  struct xk_limits limits = {.count = c->sets, .step = c->entries};
  const uint32_t *flip = c->flip + 2 * block;
  const int words = c->out_words - 2 * block >= 2 ? 2 : 1;
  const int64_t second = c->out.n * c->out.h * c->out.w * c->out_words;
  uint32_t *to = job->bits + pixel * c->out_words + 2 * block;
  uint64_t below[XK_LEVELS][XK_PIXELS];
  for (int p = 0; p < window->pixels; p++) limits.of[p] = c->limit + class[p];
  c->isa->compare(window, &limits, below);
  for (int p = 0; p < window->pixels; p++, to += c->out_words) {
    for (int i = 0; i < words; i++) {
      if (c->sets == 1) {
        to[i] = (uint32_t)(below[0][p] >> 32 * i) ^ flip[i];
        continue;
      }
      uint32_t of[XK_LEVELS];
      for (int set = 0; set < XK_LEVELS; set++) of[set] = (uint32_t)(below[set][p] >> 32 * i);
      to_planes(of, flip[i], to + i, to + second + i);
    }
  }
}

/* A place among the output's pixels, from left to right and top to bottom. */
struct place {
  int64_t n, y, x;
  const uint32_t *word; /* the first of its window */
};

static struct place place_of(const struct job *job, int64_t pixel) {
  const struct xk_conv *c = job->c;
  struct place at = {pixel / (c->out.h * c->out.w), pixel / c->out.w % c->out.h,
                     pixel % c->out.w, NULL};
  at.word = job->image + ((at.n * c->padded_h + at.y * c->o.stride_h) * c->padded_w +
                          at.x * c->o.stride_w) * c->words;
  return at;
}

/* Moves to the next row's first place; behind the last row there is one as well, never read. */
static void next_row(const struct job *job, struct place *at) {
  const struct xk_conv *c = job->c;
  at->x = 0;
  if (++at->y == c->out.h) {
    at->y = 0;
    at->n++;
  }
  at->word = job->image +
             (at->n * c->padded_h + at->y * c->o.stride_h) * c->padded_w * c->words;
}

/* Some pixels of the output, one behind another. */
struct tile {
  const uint32_t *word[XK_TILE]; /* the first of each one's window */
  size_t class[XK_TILE];
  int pixels;
};

static void take_pixels(const struct job *job, int block, int pixels, struct place *at,
                        struct tile *tile) {
  const struct xk_conv *c = job->c;
  const int64_t right = (int64_t)c->o.stride_w * c->words;
  tile->pixels = pixels;
  for (int p = 0; p < pixels; p++) {
    tile->word[p] = at->word;
    tile->class[p] = c->row_part[at->y] + c->col_part[at->x] + (size_t)block * XK_LANES;
    at->word += right;
    if (++at->x == c->out.w) next_row(job, at);
  }
}

/* Computes one block of the sets of pixels from `set` to before `last`. */
static void windows_of(const struct job *job, int block, int64_t set, int64_t last) {
  struct xk_conv *c = job->c;
  const int64_t all = c->out.n * c->out.h * c->out.w;
  const int64_t end = last * XK_PIXELS < all ? last * XK_PIXELS : all;
  const int left = c->o.out_channels - block * XK_LANES;
  const int64_t most = (int64_t)c->runs * c->run_words * (c->o.in_bits == 2 ? XK_LEVELS : 1);
  const int small = c->unit == XK_SIGNS && most <= XK_TILE_WORDS;
  struct xk_window window = {
      .weights = c->weights + (size_t)block * c->block_bytes,
      .lanes = left < XK_LANES ? (left + 15) / 16 * 16 : XK_LANES,
      .run_offset = c->run_offset,
      .runs = c->runs,
      .run_words = c->run_words,
      .planes = c->o.in_bits,
      .unit = c->unit,
      .pair_words = c->pair_words,
  };
  struct xk_affine affine = {0};
  struct place at = place_of(job, set * XK_PIXELS);
  struct tile tile;
  uint16_t counted[XK_TILE][XK_LANES] __attribute__((aligned(32)));
  if (!c->bits_only) affine = affine_of(job, block);
  for (int64_t first = set * XK_PIXELS; first < end; first += tile.pixels) {
    take_pixels(job, block, end - first < XK_TILE ? (int)(end - first) : XK_TILE, &at, &tile);
    const int together = c->isa->count_tile != NULL && small && tile.pixels >= XK_FEWEST;
    if (together) c->isa->count_tile(&window, tile.word, tile.pixels, counted);
    for (int p = 0; p < tile.pixels; p += XK_PIXELS) {
      window.pixels = tile.pixels - p < XK_PIXELS ? tile.pixels - p : XK_PIXELS;
      window.counted = together ? (const void *)counted[p] : NULL;
      memcpy(window.pixel, tile.word + p, (size_t)window.pixels * sizeof *window.pixel);
      if (c->bits_only) {
        write_bits(job, &window, first + p, block, tile.class + p);
      } else {
        write_numbers(job, &window, &affine, first + p, block, tile.class + p);
      }
    }
  }
}

/* Computes a part's pixels block by block, so that a block's weights stay in the first cache. Two
 * threads then write into the same cache line only where their pixels meet. Where there are few
 * pixels and many weights, a part has its own blocks instead. */
static void windows(void *context, int part, int parts) {
  const struct job *job = context;
  const struct xk_conv *c = job->c;
  const int64_t sets = (c->out.n * c->out.h * c->out.w + XK_PIXELS - 1) / XK_PIXELS;
  int64_t first, end;
  if (sets >= SETS_A_PART * parts) {
    share(sets, part, parts, &first, &end);
    for (int block = 0; block < c->blocks; block++) windows_of(job, block, first, end);
    return;
  }
  share(sets * c->blocks, part, parts, &first, &end);
  while (first < end) {
    const int64_t block = first / sets, set = first % sets;
    const int64_t here = end - first < sets - set ? end - first : sets - set;
    windows_of(job, (int)block, set, set + here);
    first += here;
  }
}

void xk_conv_run(struct xk_conv *c, const struct xk_values *input,
                 const struct xk_values *residual, const struct xk_values *output, uint32_t *bits,
                 uint32_t *scratch, struct xk_pool *pool, int threads) {
  struct job job = {
      .c = c,
      .input = input,
      .residual = residual,
      .output = output,
      .bits = bits,
      .scratch = scratch,
  };
  const int64_t in_numbers = c->in.n * c->in.h * c->in.w * c->o.in_channels;
  const int64_t pixels = c->out.n * c->out.h * c->out.w;
  if (xk_conv_scratch(c, input->type) == 0) {
    job.image = input->data; /* The image as it is. */
  } else {
    job.image = scratch;
    xk_pool_run(pool, in_numbers < NUMBERS_FOR_THREADS ? 1 : threads, pack_rows, &job);
  }
  const int64_t work = pixels * c->blocks * c->runs * c->run_words * c->o.in_bits;
  xk_pool_run(pool, work < WORDS_FOR_THREADS ? 1 : threads, windows, &job);
}
