/* What an op reads of the runtime's tensors, each checked on the way. */
#ifndef XK_TENSORS_H
#define XK_TENSORS_H

#include "conv.h"
#include "tflite_abi.h"

/* Returns the tensor at an op's place; NULL if the file leaves it out. */
TfLiteTensor *xk_tensor(TfLiteContext *context, int place);

/* Returns how many elements a shape has; -1 if a size is below 1 or they are too many. */
int64_t xk_elements(const TfLiteIntArray *dims);

/* Finds the data of a constant, which must have this type and size; NULL if the file has none. */
enum xk_status xk_constant(TfLiteContext *context, int place, TfLiteType type, size_t bytes,
                           const void **data);

/* Describes a tensor of numbers or bits, without its data. Returns false if it is neither. */
bool xk_describe(const TfLiteTensor *from, struct xk_values *to);

bool xk_one_byte(enum xk_type type);

/* Finds a tensor's data. Returns false unless it holds `count` elements at an aligned address. */
bool xk_data_of(const TfLiteTensor *from, int64_t count, struct xk_values *to);

/* Does the same for an output, to which the runtime gives no memory if nothing reads it. */
bool xk_room_of(const TfLiteTensor *from, int64_t count, struct xk_values *to);

#endif
