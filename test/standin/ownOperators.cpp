#include "ownOperators.h"

#include <dlfcn.h>

#include <deque>
#include <stdexcept>
#include <vector>

#include "executable.h"
#include "kernels/channelConcat.h"
#include "kernels/instructionTopK.h"
#include "kernels/swigluLevels.h"
#include "kernels/textGuidedPooling.h"

namespace standin {

namespace {

using semanticvla::kernels::DataType;
using semanticvla::kernels::Status;
using semanticvla::onnx::OrtSessionOptions;
using semanticvla::onnx::OrtStatus;
using semanticvla::onnx::OrtTensorTypeAndShapeInfo;
using semanticvla::onnx::OrtValue;

struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtCustomOpDomain;

/// As onnxruntime_c_api.h lays it out up to version 13 of the interface, which later ones read too.
struct OrtCustomOp {
  uint32_t version = 13;
  void* (*createKernel)(const OrtCustomOp*, const void* api, const OrtKernelInfo*);
  const char* (*getName)(const OrtCustomOp*);
  const char* (*getExecutionProvider)(const OrtCustomOp*);
  int (*getInputType)(const OrtCustomOp*, size_t);
  size_t (*getInputCount)(const OrtCustomOp*);
  int (*getOutputType)(const OrtCustomOp*, size_t);
  size_t (*getOutputCount)(const OrtCustomOp*);
  void (*compute)(void* kernel, OrtKernelContext*);
  void (*destroy)(void* kernel);
  int (*getInputCharacteristic)(const OrtCustomOp*, size_t);
  int (*getOutputCharacteristic)(const OrtCustomOp*, size_t);
  int (*getInputMemory)(const OrtCustomOp*, size_t);
};

/// Places in `OrtApi`, which only grows at its end.
struct Functions {
  const char* (*getErrorMessage)(const OrtStatus*) = nullptr;
  OrtStatus* (*createDomain)(const char*, OrtCustomOpDomain**) = nullptr;
  OrtStatus* (*addOperator)(OrtCustomOpDomain*, const OrtCustomOp*) = nullptr;
  OrtStatus* (*addDomain)(OrtSessionOptions*, OrtCustomOpDomain*) = nullptr;
  OrtStatus* (*getMutableData)(OrtValue*, void**) = nullptr;
  OrtStatus* (*getRank)(const OrtTensorTypeAndShapeInfo*, size_t*) = nullptr;
  OrtStatus* (*getDims)(const OrtTensorTypeAndShapeInfo*, int64_t*, size_t) = nullptr;
  OrtStatus* (*getShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**) = nullptr;
  OrtStatus* (*getFloat)(const OrtKernelInfo*, const char*, float*) = nullptr;
  OrtStatus* (*getInteger)(const OrtKernelInfo*, const char*, int64_t*) = nullptr;
  OrtStatus* (*getInput)(const OrtKernelContext*, size_t, const OrtValue**) = nullptr;
  OrtStatus* (*getOutput)(OrtKernelContext*, size_t, const int64_t*, size_t, OrtValue**) = nullptr;
  void (*releaseStatus)(OrtStatus*) = nullptr;
  void (*releaseShape)(OrtTensorTypeAndShapeInfo*) = nullptr;
  void (*releaseDomain)(OrtCustomOpDomain*) = nullptr;

  void check(OrtStatus* status) const {
    if (status == nullptr) return;
    const std::string message = getErrorMessage(status);
    releaseStatus(status);
    throw std::runtime_error(message);
  }
};

Functions ort;

void open(const std::string& library) {
  struct Base {
    const void* const* (*getApi)(uint32_t);
  };
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw std::runtime_error(dlerror());
  const auto base = reinterpret_cast<const Base* (*)()>(dlsym(handle, "OrtGetApiBase"));
  const void* const* table = base()->getApi(22);
  const auto take = [table](auto& function, size_t place) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        const_cast<void*>(table[place]));
  };
  take(ort.getErrorMessage, 2);
  take(ort.createDomain, 26);
  take(ort.addOperator, 27);
  take(ort.addDomain, 28);
  take(ort.getMutableData, 51);
  take(ort.getRank, 61);
  take(ort.getDims, 62);
  take(ort.getShape, 65);
  take(ort.getFloat, 85);
  take(ort.getInteger, 86);
  take(ort.getInput, 90);
  take(ort.getOutput, 91);
  take(ort.releaseStatus, 93);
  take(ort.releaseShape, 99);
  take(ort.releaseDomain, 101);
}

struct Tensor {
  void* data = nullptr;
  std::vector<int64_t> dims;
  int32_t size(size_t axis) const { return static_cast<int32_t>(dims.at(axis)); }
};

Tensor input(const OrtKernelContext* context, size_t index) {
  const OrtValue* value = nullptr;
  ort.check(ort.getInput(context, index, &value));
  OrtTensorTypeAndShapeInfo* shape = nullptr;
  ort.check(ort.getShape(value, &shape));
  size_t rank = 0;
  ort.check(ort.getRank(shape, &rank));
  Tensor tensor{nullptr, std::vector<int64_t>(rank)};
  ort.check(ort.getDims(shape, tensor.dims.data(), rank));
  ort.releaseShape(shape);
  ort.check(ort.getMutableData(const_cast<OrtValue*>(value), &tensor.data));
  return tensor;
}

void* output(OrtKernelContext* context, size_t index, const std::vector<int64_t>& dims) {
  OrtValue* value = nullptr;
  ort.check(ort.getOutput(context, index, dims.data(), dims.size(), &value));
  void* data = nullptr;
  ort.check(ort.getMutableData(value, &data));
  return data;
}

void check(Status status, const char* kernel) {
  if (status == semanticvla::kernels::kOk) return;
  throw std::runtime_error(std::string(kernel) + ": the kernel answered " + std::to_string(status));
}

struct Attributes {
  DataType type;
  int64_t topk;
  float temperature;
  int64_t block;
};

void instructionTopK(const Attributes& attributes, OrtKernelContext* context) {
  const Tensor patches = input(context, 0), text = input(context, 1), mask = input(context, 2);
  semanticvla::kernels::InstructionTopKParams params;
  params.type = attributes.type;
  params.images = patches.size(0);
  params.patches = patches.size(1);
  params.width = patches.size(2);
  params.textTokens = text.size(0);
  params.topk = static_cast<int32_t>(attributes.topk);
  params.patchRows = patches.data;
  params.textRows = text.data;
  params.mask = static_cast<const uint8_t*>(mask.data);
  params.kept = output(context, 0, {patches.dims[0], attributes.topk, patches.dims[2]});
  params.indices = static_cast<int64_t*>(output(context, 1, {patches.dims[0], attributes.topk}));
  params.similarity =
      static_cast<float*>(output(context, 2, {patches.dims[0], patches.dims[1], text.dims[0]}));
  params.workspaceBytes =
      semanticvla::kernels::instructionTopKWorkspace(params.images, params.patches);
  std::vector<float> workspace(params.workspaceBytes / sizeof(float));
  std::vector<uint32_t> tickets(patches.dims[0]);
  params.workspace = workspace.data();
  params.tickets = tickets.data();
  check(semanticvla::kernels::launchInstructionTopK(params, nullptr), "instructionTopK");
}

void textGuidedPooling(const Attributes& attributes, OrtKernelContext* context) {
  const Tensor patches = input(context, 0), similarity = input(context, 1);
  semanticvla::kernels::TextGuidedPoolingParams params;
  params.type = attributes.type;
  params.images = patches.size(0);
  params.patches = patches.size(1);
  params.width = patches.size(2);
  params.textTokens = similarity.size(2);
  params.topk = static_cast<int32_t>(attributes.topk);
  params.temperature = attributes.temperature;
  params.patchRows = patches.data;
  params.similarity = static_cast<const float*>(similarity.data);
  params.pooled = output(context, 0, {patches.dims[0], attributes.topk, patches.dims[2]});
  params.indices = static_cast<int64_t*>(output(context, 1, {patches.dims[0], attributes.topk}));
  check(semanticvla::kernels::launchTextGuidedPooling(params, nullptr), "textGuidedPooling");
}

void channelConcat(const Attributes& attributes, OrtKernelContext* context) {
  const Tensor left = input(context, 0), right = input(context, 1);
  semanticvla::kernels::ChannelConcatParams params;
  params.type = attributes.type;
  params.images = left.size(0);
  params.rows = left.size(1);
  params.leftRows = params.rows;
  params.leftWidth = left.size(2);
  params.rightWidth = right.size(2);
  params.left = left.data;
  params.right = right.data;
  params.joined = output(context, 0, {left.dims[0], left.dims[1], left.dims[2] + right.dims[2]});
  check(semanticvla::kernels::launchChannelConcat(params, nullptr), "channelConcat");
}

void swigluLevels(const Attributes& attributes, OrtKernelContext* context) {
  const Tensor sums = input(context, 0), byToken = input(context, 1), byChannel = input(context, 2);
  const int64_t width = sums.dims.at(1) / 2;
  semanticvla::kernels::SwigluLevelsParams params;
  params.type = attributes.type;
  params.rows = sums.size(0);
  params.width = static_cast<int32_t>(width);
  params.block = static_cast<int32_t>(attributes.block);
  params.sums = sums.data;
  params.byToken = static_cast<const float*>(byToken.data);
  params.byChannel = static_cast<const float*>(byChannel.data);
  params.levels = static_cast<int8_t*>(output(context, 0, {sums.dims[0], width}));
  params.scales = static_cast<float*>(output(context, 1, {sums.dims[0], 1}));
  check(semanticvla::kernels::launchSwigluLevels(params, nullptr), "swigluLevels");
}

struct Operation {
  const char* name;
  void (*run)(const Attributes&, OrtKernelContext*);
  bool hasTopk;
  bool hasTemperature;
  bool hasBlock;
  /// kUnknown: the operator's own type.
  std::vector<int64_t> inputs, outputs;
};

const Operation kOperations[] = {
    {"instructionTopK",
     instructionTopK,
     true,
     false,
     false,
     {kUnknown, kUnknown, kBool},
     {kUnknown, kInt64, kFloat32}},
    {"textGuidedPooling",
     textGuidedPooling,
     true,
     true,
     false,
     {kUnknown, kFloat32},
     {kUnknown, kInt64}},
    {"channelConcat", channelConcat, false, false, false, {kUnknown, kUnknown}, {kUnknown}},
    {"swigluLevels",
     swigluLevels,
     false,
     false,
     true,
     {kUnknown, kFloat32, kFloat32},
     {kInt8, kFloat32}},
};

struct Operator : OrtCustomOp {
  const Operation* operation;
  int64_t type;
  std::string name;
};

struct Kernel {
  const Operator* of;
  Attributes attributes;
};

const Operator& of(const OrtCustomOp* base) { return *static_cast<const Operator*>(base); }

DataType storage(int64_t type) {
  if (type == kFloat16) return DataType::kFloat16;
  return type == kBfloat16 ? DataType::kBfloat16 : DataType::kFloat32;
}

Operator makeOperator(const Operation& operation, int64_t type) {
  Operator made;
  made.operation = &operation;
  made.type = type;
  made.name = std::string(operation.name) + "_" + typeName(type);
  made.createKernel = [](const OrtCustomOp* base, const void*, const OrtKernelInfo* info) -> void* {
    auto kernel = std::make_unique<Kernel>(Kernel{&of(base), {storage(of(base).type), 0, 0, 0}});
    const Operation& own = *of(base).operation;
    if (own.hasTopk) ort.check(ort.getInteger(info, "topk", &kernel->attributes.topk));
    if (own.hasTemperature)
      ort.check(ort.getFloat(info, "temperature", &kernel->attributes.temperature));
    if (own.hasBlock) ort.check(ort.getInteger(info, "block", &kernel->attributes.block));
    return kernel.release();
  };
  made.getName = [](const OrtCustomOp* base) { return of(base).name.c_str(); };
  made.getExecutionProvider = [](const OrtCustomOp*) -> const char* { return nullptr; };
  const auto typeAt = [](const Operator& one, const std::vector<int64_t>& all, size_t index) {
    return static_cast<int>(all.at(index) == kUnknown ? one.type : all[index]);
  };
  static const auto at = typeAt;
  made.getInputType = [](const OrtCustomOp* base, size_t index) {
    return at(of(base), of(base).operation->inputs, index);
  };
  made.getInputCount = [](const OrtCustomOp* base) { return of(base).operation->inputs.size(); };
  made.getOutputType = [](const OrtCustomOp* base, size_t index) {
    return at(of(base), of(base).operation->outputs, index);
  };
  made.getOutputCount = [](const OrtCustomOp* base) { return of(base).operation->outputs.size(); };
  made.compute = [](void* kernel, OrtKernelContext* context) {
    const auto& own = *static_cast<const Kernel*>(kernel);
    own.of->operation->run(own.attributes, context);
  };
  made.destroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  made.getInputCharacteristic = [](const OrtCustomOp*, size_t) { return 0; };
  made.getOutputCharacteristic = [](const OrtCustomOp*, size_t) { return 0; };
  made.getInputMemory = [](const OrtCustomOp*, size_t) { return 0; };
  return made;
}

}  // namespace

struct OwnOperators::Registered {
  std::deque<Operator> operators;
  OrtCustomOpDomain* domain = nullptr;
};

OwnOperators::OwnOperators(const std::string& library)
    : registered_(std::make_unique<Registered>()) {
  open(library);
  ort.check(ort.createDomain(kOwnDomain, &registered_->domain));
  for (const Operation& operation : kOperations) {
    for (const int64_t type : {kFloat32, kFloat16, kBfloat16}) {
      registered_->operators.push_back(makeOperator(operation, type));
      ort.check(ort.addOperator(registered_->domain, &registered_->operators.back()));
    }
  }
}

OwnOperators::~OwnOperators() {
  if (registered_->domain != nullptr) ort.releaseDomain(registered_->domain);
}

void OwnOperators::addTo(OrtSessionOptions* options) const {
  ort.check(ort.addDomain(options, registered_->domain));
}

}  // namespace standin
