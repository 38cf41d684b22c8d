/* Ops made of arbitrary bytes: mostly right ones, with a few fields broken.
 *
 * With clang: -fsanitize=fuzzer,address,undefined. Elsewhere unit.c makes the bytes. */
#include <string.h>

#include "fake_runtime.h"
#include "isa.h"
#include "options.h"

struct bytes {
  const uint8_t *data;
  size_t left;
};

static unsigned take(struct bytes *from) {
  if (from->left == 0) return 0;
  from->left--;
  return *from->data++;
}

/* A number between two others, both included. */
static int among(struct bytes *from, int low, int high) {
  return low + (int)(take(from) % (unsigned)(high - low + 1));
}

/* Numbers that break things. */
static int odd(struct bytes *from) {
  static const int ODD[] = {0,  -1,      1,       2,         31,        32,        33,
                            64, 65,      255,     256,       65535,     65536,     1 << 20,
                            -2, 1 << 24, 1 << 30, INT32_MAX, INT32_MIN, INT32_MIN + 1};
  return ODD[take(from) % (sizeof ODD / sizeof ODD[0])];
}

static void shape(struct fake_tensor *to, int type, int rank, int a, int b, int c, int d) {
  const int dims[4] = {a, b, c, d};
  to->type = type;
  to->rank = rank;
  memcpy(to->dims, dims + 4 - rank, sizeof(int) * (size_t)rank);
  to->scale = 0.1f;
}

static void constant(struct fake_tensor *to, int type, int count) {
  shape(to, type, 1, 0, 0, 0, count);
  to->constant = 1;
  to->bytes = (size_t)count * (type == kTfLiteUInt8 || type == kTfLiteInt8 ? 1 : 4);
}

static void put_int(uint8_t *to, int32_t value) {
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)((uint32_t)value >> 8 * i);
}

/* A right op, of the sizes that the bytes say. */
static void make(struct bytes *from, struct fake_op *op, uint8_t *options) {
  static const char *const NAMES[] = {"TfcXnorConv2D", "TfcXnorDense", "TfcXnorMaxPool2D",
                                      "TfcXnorByteConv2D"};
  static const int KINDS[] = {kTfLiteFloat32, kTfLiteInt8, kTfLiteInt32};
  const int kind = among(from, 0, 3);
  const int in = among(from, 1, 140), out = kind == 2 ? in : among(from, 1, 140);
  /* Of the input's and the output's values, where they can be 2. */
  const int in_bits = kind == 3 ? 1 : among(from, 1, 2);
  int out_bits = kind == 2 ? in_bits : among(from, 1, 2);
  int values[XK_OPTION_COUNT] = {in, out, 1, 1, 1, 1, 1, 1};
  if (kind != 1) {
    for (int i = 2; i < 6; i++) values[i] = among(from, 1, 4);
    for (int i = 6; i < 8; i++) values[i] = kind == 2 ? 1 : among(from, 1, 2);
    for (int i = 8; i < 12; i++) { /* A pad is smaller than the dilated kernel. */
      const int side = i < 10 ? 0 : 1, reach = (values[2 + side] - 1) * values[6 + side];
      values[i] = among(from, 0, reach < 3 ? reach : 3);
    }
  }
  values[12] = kind == 3 || in_bits == 2 ? 0 : among(from, 0, 1);
  values[13] = among(from, 0, 2);
  values[14] = among(from, 0, 1);
  int x = kind == 3 ? kTfLiteUInt8 : kind == 2 ? kTfLiteInt32 : KINDS[among(from, 0, 2)];
  const int y = kind == 2 ? kTfLiteInt32 : KINDS[among(from, 0, 2)];
  if (in_bits == 2 && x == kTfLiteInt8) x = kTfLiteFloat32;
  if (y != kTfLiteInt32) out_bits = 1;
  values[15] = in_bits;
  values[16] = out_bits;
  const int first_version = in_bits == 1 && out_bits == 1 && take(from) % 2;
  put_int(options, XK_MAGIC);
  put_int(options + 4, first_version ? 1 : XK_VERSION);
  for (int i = 0; i < XK_OPTION_COUNT; i++) put_int(options + 8 + 4 * i, values[i]);
  struct fake_node *only = &op->node;
  only->options = options;
  only->option_bytes = first_version ? XK_FIRST_OPTION_BYTES : XK_OPTION_BYTES;
  only->name = NAMES[kind];

  const int n = among(from, 1, 2), h = among(from, 1, 12), w = among(from, 1, 12);
  const int width = x == kTfLiteInt32 ? (in + 31) / 32 * in_bits : in;
  shape(&op->tensors[0], x, kind == 1 ? among(from, 1, 4) : 4, n, h, w, width);
  constant(&op->tensors[1], kTfLiteUInt8, (out * in * values[2] * values[3] + 7) / 8);
  if (kind == 2) constant(&op->tensors[1], kTfLiteInt32, (in + 31) / 32);
  if (kind == 3) constant(&op->tensors[1], kTfLiteInt8, out * in * values[2] * values[3]);
  for (int i = 2; i < 10; i++) constant(&op->tensors[i], kTfLiteFloat32, out);
  op->tensors[4].type = op->tensors[5].type = kTfLiteInt32;
  op->tensors[5].bytes = 4 * (size_t)((out + 31) / 32);
  if (out_bits == 2) op->tensors[4].bytes *= XK_LEVELS;
  constant(&op->tensors[12], kTfLiteFloat32, XK_LEVELS);
  for (int i = 0; i < 10; i++) only->inputs[i] = i;
  only->inputs[10] = 12;
  only->input_count = kind == 2 ? 10 : 11;
  shape(&op->tensors[10], y, 4, 1, 1, 1, 1);
  shape(&op->tensors[11], kTfLiteInt32, 4, 1, 1, 1, 1);
  only->outputs[0] = 10;
  only->outputs[1] = 11;
  only->output_count = y != kTfLiteInt32 && take(from) % 2 ? 2 : 1;
  only->inputs[7] = -1;
  if (y != kTfLiteInt32 && take(from) % 2) { /* A second operand, of the right shape for 1x1. */
    only->inputs[7] = 7;
    op->tensors[7] = op->tensors[0];
    op->tensors[7].type = take(from) % 2 ? kTfLiteFloat32 : kTfLiteInt8;
    op->tensors[7].dims[op->tensors[7].rank - 1] = out;
  }
  op->threads = among(from, -1, 2);
}

/* Breaks one field. */
static void damage(struct bytes *from, struct fake_op *op, uint8_t *options) {
  struct fake_tensor *tensor = &op->tensors[take(from) % FAKE_TENSORS];
  struct fake_node *only = &op->node;
  switch (take(from) % 12) {
    case 0: put_int(options + 4 * (take(from) % (XK_OPTION_COUNT + 2)), odd(from)); break;
    case 1: options[take(from) % XK_OPTION_BYTES] ^= (uint8_t)(1u << take(from) % 8); break;
    case 2: only->option_bytes = take(from) % (XK_OPTION_BYTES + 1); break;
    case 3: tensor->type = among(from, 0, 18); break;
    case 4: tensor->rank = among(from, -1, FAKE_RANK); break;
    case 5: tensor->dims[take(from) % FAKE_RANK] = odd(from); break;
    case 6: tensor->bytes = take(from); break;
    case 7: tensor->constant = !tensor->constant; break;
    case 8: only->inputs[take(from) % 12] = among(from, -2, FAKE_TENSORS); break;
    case 9: only->outputs[take(from) % 3] = among(from, -2, FAKE_TENSORS); break;
    case 10:
      only->input_count = among(from, 0, 12);
      only->output_count = among(from, 0, 3);
      break;
    default:
      tensor->zero = odd(from);
      tensor->scale = take(from) % 2 ? 0.0f : -1.0f;
      break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

unsigned long fuzz_ran = 0; /* inputs that made an op which ran */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bytes from = {data, size};
  struct fake_op op;
  uint8_t options[XK_OPTION_BYTES];
  memset(&op, 0, sizeof op);
  op.kernel = xk_isa_name(among(&from, 0, 3)); /* NULL, the fastest, beyond the last. */
  int broken = among(&from, 0, 3);
  make(&from, &op, options);
  for (int i = 0; i < broken; i++) damage(&from, &op, options);
  if (fake_run(&op, 2) == kTfLiteOk) fuzz_ran++;
  return 0;
}
