#include "tensors.h"

#include <math.h>
#include <string.h>

TfLiteTensor *xk_tensor(TfLiteContext *context, int place) {
  return place == kTfLiteOptionalTensor ? NULL : &context->tensors[place];
}

int64_t xk_elements(const TfLiteIntArray *dims) {
  int64_t count = 1;
  if (dims == NULL) return -1;
  for (int i = 0; i < dims->size; i++) {
    if (dims->data[i] < 1 || dims->data[i] > INT32_MAX / count) return -1;
    count *= dims->data[i];
  }
  return count;
}

enum xk_status xk_constant(TfLiteContext *context, int place, TfLiteType type, size_t bytes,
                           const void **data) {
  const TfLiteTensor *from = xk_tensor(context, place);
  *data = NULL;
  if (from == NULL) return XK_OK;
  if (from->allocation_type != kTfLiteMmapRo || from->data == NULL || from->type != type ||
      from->sparsity != NULL || from->bytes != bytes || xk_elements(from->dims) < 0) {
    return XK_BAD_CONSTANT;
  }
  *data = from->data;
  return XK_OK;
}

bool xk_describe(const TfLiteTensor *from, struct xk_values *to) {
  memset(to, 0, sizeof *to);
  if (from == NULL) return false;
  const int lowest = from->type == kTfLiteInt8 ? -128 : 0;
  switch (from->type) {
    case kTfLiteFloat32: to->type = XK_F32; return true;
    case kTfLiteInt32: to->type = XK_BITS; return true;
    case kTfLiteInt8: to->type = XK_I8; break;
    case kTfLiteUInt8: to->type = XK_U8; break;
    default: return false;
  }
  to->scale = from->params.scale;
  to->zero = from->params.zero_point;
  return isfinite(to->scale) && to->scale > 0 && to->zero >= lowest && to->zero <= lowest + 255;
}

bool xk_one_byte(enum xk_type type) { return type == XK_I8 || type == XK_U8; }

bool xk_data_of(const TfLiteTensor *from, int64_t count, struct xk_values *to) {
  if (!xk_describe(from, to)) return false;
  const size_t size = xk_one_byte(to->type) ? 1 : 4;
  to->data = from->data;
  return from->data != NULL && from->bytes / size >= (uint64_t)count &&
         (uintptr_t)from->data % size == 0;
}

bool xk_room_of(const TfLiteTensor *from, int64_t count, struct xk_values *to) {
  if (from->data == NULL) return xk_describe(from, to);
  return xk_data_of(from, count, to);
}
