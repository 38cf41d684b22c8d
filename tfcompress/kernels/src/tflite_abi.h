/* The few structs of TFLite's C interface that an external delegate needs.
 *
 * The Python wheels hold no headers, and the library links nothing of TFLite: the runtime passes
 * pointers to its functions. TFLite calls these layouts semi-stable: fields are added at the end only.
 * Only what we use has a meaningful type; sizes and places are checked below. */
#ifndef XK_TFLITE_ABI_H
#define XK_TFLITE_ABI_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1, kTfLiteDelegateError = 2 } TfLiteStatus;

typedef enum TfLiteType {
  kTfLiteFloat32 = 1,
  kTfLiteInt32 = 2,
  kTfLiteUInt8 = 3,
  kTfLiteInt8 = 9,
} TfLiteType;

typedef enum TfLiteAllocationType { kTfLiteMmapRo = 1 } TfLiteAllocationType;

enum { kTfLiteBuiltinCustom = 32, kTfLiteOptionalTensor = -1 };
enum { kTfLiteDelegateFlagsAllowDynamicTensors = 1 };

typedef struct TfLiteIntArray {
  int size;
  int data[];
} TfLiteIntArray;

typedef struct TfLiteQuantizationParams {
  float scale;
  int32_t zero_point;
} TfLiteQuantizationParams;

typedef struct TfLiteQuantization {
  int type;
  void *params;
} TfLiteQuantization;

typedef struct TfLiteTensor {
  TfLiteType type;
  void *data;
  TfLiteIntArray *dims;
  TfLiteQuantizationParams params;
  TfLiteAllocationType allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  struct TfLiteDelegate *delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  TfLiteQuantization quantization;
  void *sparsity;
  const TfLiteIntArray *dims_signature;
} TfLiteTensor;

typedef struct TfLiteNode {
  TfLiteIntArray *inputs;
  TfLiteIntArray *outputs;
  TfLiteIntArray *intermediates;
  TfLiteIntArray *temporaries;
  void *user_data;
  void *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  /* More fields follow. */
} TfLiteNode;

struct TfLiteContext;

typedef struct TfLiteRegistration {
  void *(*init)(struct TfLiteContext *context, const char *buffer, size_t length);
  void (*free)(struct TfLiteContext *context, void *buffer);
  TfLiteStatus (*prepare)(struct TfLiteContext *context, TfLiteNode *node);
  TfLiteStatus (*invoke)(struct TfLiteContext *context, TfLiteNode *node);
  const char *(*profiling_string)(const struct TfLiteContext *context, const TfLiteNode *node);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external;
  void *async_kernel;
  uint64_t inplace_operator;
} TfLiteRegistration;

typedef struct TfLiteDelegateParams {
  struct TfLiteDelegate *delegate;
  TfLiteIntArray *nodes_to_replace;
  TfLiteIntArray *input_tensors;
  TfLiteIntArray *output_tensors;
} TfLiteDelegateParams;

typedef struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(struct TfLiteContext *, TfLiteIntArray **plan);
  TfLiteTensor *tensors;
  void *impl_;
  TfLiteStatus (*ResizeTensor)(struct TfLiteContext *, TfLiteTensor *, TfLiteIntArray *size);
  void (*ReportError)(struct TfLiteContext *, const char *message, ...);
  TfLiteStatus (*AddTensors)(struct TfLiteContext *, int count, int *first);
  TfLiteStatus (*GetNodeAndRegistration)(struct TfLiteContext *, int index, TfLiteNode **,
                                         TfLiteRegistration **);
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(struct TfLiteContext *, TfLiteRegistration,
                                                        const TfLiteIntArray *nodes,
                                                        struct TfLiteDelegate *);
  int recommended_num_threads;
  void *GetExternalContext;
  void *SetExternalContext;
  bool allow_fp32_relax_to_fp16;
  void *profiler;
  void *AllocatePersistentBuffer;
  void *AllocateBufferForEval;
  void *RequestScratchBufferInArena;
  void *GetScratchBuffer;
  void *ResizeTensorExplicit; /* Not set by the interpreter. */
  void *PreviewDelegatePartitioning;
  void *GetTensor;
  void *GetEvalTensor;
  void *GetModelMetadata;
  void *AcquireSubgraphContext;
  void *ReleaseSubgraphContext;
  /* On Windows, where two libraries may have two heaps, a function for making arrays follows. */
  TfLiteIntArray *(*IntArrayCreate)(int size);
} TfLiteContext;

typedef struct TfLiteDelegate {
  void *data_;
  TfLiteStatus (*Prepare)(TfLiteContext *, struct TfLiteDelegate *);
  void *CopyFromBufferHandle;
  void *CopyToBufferHandle;
  void *FreeBufferHandle;
  int64_t flags;
  void *opaque_delegate_builder;
  void *later[4]; /* A newer runtime's fields: unset. */
} TfLiteDelegate;

#if UINTPTR_MAX == UINT64_MAX
static_assert(sizeof(TfLiteTensor) == 112, "TfLiteTensor");
static_assert(offsetof(TfLiteTensor, bytes) == 40, "TfLiteTensor.bytes");
static_assert(offsetof(TfLiteTensor, quantization) == 80, "TfLiteTensor.quantization");
static_assert(sizeof(TfLiteRegistration) == 88, "TfLiteRegistration");
static_assert(offsetof(TfLiteRegistration, custom_name) == 48, "TfLiteRegistration.custom_name");
static_assert(offsetof(TfLiteNode, custom_initial_data_size) == 56, "TfLiteNode");
static_assert(sizeof(TfLiteDelegateParams) == 32, "TfLiteDelegateParams");
static_assert(offsetof(TfLiteContext, ReplaceNodeSubsetsWithDelegateKernels) == 64, "TfLiteContext");
static_assert(offsetof(TfLiteContext, recommended_num_threads) == 72, "TfLiteContext threads");
static_assert(offsetof(TfLiteContext, IntArrayCreate) == 200, "TfLiteContext arrays");
static_assert(offsetof(TfLiteDelegate, flags) == 40, "TfLiteDelegate.flags");
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "TFLite files are little-endian, and so are these kernels"
#endif

#endif
