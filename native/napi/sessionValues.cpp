#include "napi/sessionValues.h"

#include <algorithm>

namespace semanticvla::napi {

namespace {

Napi::Object toObject(const Napi::Value& value, const char* name) {
  if (!value.IsObject())
    throw Napi::TypeError::New(value.Env(), std::string("expected an object for ") + name);
  return value.As<Napi::Object>();
}

Napi::Array toArray(const Napi::Value& value, const char* name) {
  if (!value.IsArray())
    throw Napi::TypeError::New(value.Env(), std::string("expected an array for ") + name);
  return value.As<Napi::Array>();
}

uint64_t toCount(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  // Also false for NaN.
  if (!(number >= 0 && number <= 9007199254740991.0)) {
    throw Napi::RangeError::New(object.Env(),
                                std::string("expected a whole number >= 0 for ") + name);
  }
  return static_cast<uint64_t>(number);
}

bool toFlag(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsBoolean())
    throw Napi::TypeError::New(object.Env(), std::string("expected a boolean for ") + name);
  return value.As<Napi::Boolean>().Value();
}

struct Bytes {
  const uint8_t* data;
  size_t length;
};

Bytes toView(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsTypedArray())
    throw Napi::TypeError::New(object.Env(), std::string("expected a typed array for ") + name);
  const Napi::TypedArray array = value.As<Napi::TypedArray>();
  const auto* data = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
  return {data, array.ByteLength()};
}

runtime::Dims toDims(const Napi::Object& object) {
  const Napi::Array array = toArray(object.Get("dims"), "dims");
  runtime::Dims dims;
  for (uint32_t i = 0; i < array.Length(); ++i)
    dims.push_back(array.Get(i).ToNumber().Int64Value());
  return dims;
}

runtime::FloatType toFloatType(const Napi::Object& object) {
  const std::string type = toText(object, "type");
  if (type == "float32") return runtime::FloatType::kFloat32;
  if (type == "float16") return runtime::FloatType::kFloat16;
  if (type == "bfloat16") return runtime::FloatType::kBfloat16;
  if (type == "float64") return runtime::FloatType::kFloat64;
  if (type == "int8") return runtime::FloatType::kInt8;
  if (type == "float8") return runtime::FloatType::kFloat8;
  throw Napi::TypeError::New(object.Env(), "expected a type of weights, found " + type);
}

runtime::EnginePlan toPlan(const Napi::Object& object) {
  runtime::EnginePlan plan;
  const Napi::Value source = object.Get("plan");
  if (source.IsNumber()) {
    plan.plan = runtime::mapFile(source.As<Napi::Number>().Int32Value());
  } else {
    const Bytes bytes = toView(object, "plan");
    plan.plan = runtime::Blob::of({bytes.data, bytes.data + bytes.length});
  }
  const Bytes kernels = toView(object, "kernels");
  plan.kernels.assign(kernels.data, kernels.data + kernels.length);
  const Napi::Array weights = toArray(object.Get("weights"), "weights");
  for (uint32_t i = 0; i < weights.Length(); ++i) {
    const Napi::Object weight = toObject(weights.Get(i), "weight");
    runtime::WeightBinding binding{toText(weight, "name"), toFloatType(weight), toDims(weight), {}};
    const Napi::Array parts = toArray(weight.Get("parts"), "parts");
    for (uint32_t j = 0; j < parts.Length(); ++j) {
      const Napi::Object part = toObject(parts.Get(j), "part");
      binding.parts.push_back({toText(part, "file"), toCount(part, "offset"),
                               toCount(part, "byteLength"), toFloatType(part)});
    }
    plan.weights.push_back(std::move(binding));
  }
  return plan;
}

runtime::RoundsSpec toRounds(const Napi::Object& object) {
  runtime::RoundsSpec spec;
  spec.count = static_cast<size_t>(toCount(object, "count"));
  if (spec.count == 0 || spec.count > 100000)
    throw Napi::RangeError::New(object.Env(), "expected 1..100000 for count of rounds");
  spec.carriedInput = toText(object, "carriedInput");
  spec.carriedOutput = toText(object, "carriedOutput");
  const Napi::Array tables = toArray(object.Get("tables"), "tables");
  for (uint32_t i = 0; i < tables.Length(); ++i) {
    const Napi::Object table = toObject(tables.Get(i), "table");
    const Bytes rows = toView(table, "rows");
    spec.tables.push_back({toText(table, "name"), {rows.data, rows.data + rows.length}});
  }
  return spec;
}

}  // namespace

std::string toText(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsString())
    throw Napi::TypeError::New(object.Env(), std::string("expected a string for ") + name);
  return value.As<Napi::String>().Utf8Value();
}

runtime::SessionRequest toSessionRequest(const Napi::Object& object) {
  runtime::SessionRequest request;
  request.prepare = toPlan(toObject(object.Get("prepare"), "prepare"));
  request.step = toPlan(toObject(object.Get("step"), "step"));
  if (!object.Get("rounds").IsNull()) {
    const Napi::Object rounds = toObject(object.Get("rounds"), "rounds");
    request.rounds = toPlan(toObject(rounds.Get("engine"), "engine"));
    request.roundsSpec = toRounds(rounds);
  }
  request.imageInput = toText(object, "imageInput");
  request.usesGraphs = toFlag(object, "graphs");
  request.watchesLayers = toFlag(object, "watchLayers");
  request.keptSteps = static_cast<size_t>(toCount(object, "keptSteps"));
  request.chunkBytes = static_cast<size_t>(std::max<uint64_t>(toCount(object, "chunkBytes"), 4096));
  return request;
}

std::vector<runtime::HostTensor> toHostTensors(const Napi::Value& value) {
  const Napi::Array array = toArray(value, "inputs");
  std::vector<runtime::HostTensor> tensors;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = toObject(array.Get(i), "input");
    const Bytes bytes = toView(object, "data");
    tensors.push_back({toText(object, "name"), toDims(object), bytes.data, bytes.length});
  }
  return tensors;
}

std::vector<OwnedTensor> toOwnedTensors(const Napi::Value& value) {
  std::vector<OwnedTensor> owned;
  for (const runtime::HostTensor& tensor : toHostTensors(value)) {
    owned.push_back({tensor.name, tensor.dims, {tensor.data, tensor.data + tensor.bytes}});
  }
  return owned;
}

BorrowedFrames toBorrowedFrames(const Napi::Value& value) {
  BorrowedFrames frames;
  if (value.IsNull() || value.IsUndefined()) return frames;
  const Napi::Object object = toObject(value, "frames");
  frames.request.jpeg = toFlag(object, "jpeg");
  frames.request.centerCrop = toFlag(object, "centerCrop");
  const Napi::Array array = toArray(object.Get("frames"), "frames");
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object frame = toObject(array.Get(i), "frame");
    const uint64_t width = toCount(frame, "width"), height = toCount(frame, "height");
    const Bytes bytes = toView(frame, "data");
    if (width == 0 || height == 0 || width > 65536 || height > 65536 ||
        bytes.length != width * height * 3) {
      throw Napi::RangeError::New(value.Env(),
                                  "expected width * height * 3 bytes for data of a frame");
    }
    frames.request.frames.push_back(
        {static_cast<int>(width), static_cast<int>(height), toFlag(frame, "bgr")});
    frames.pixels.push_back(bytes.data);
  }
  return frames;
}

Napi::Object fromDevice(Napi::Env env, const runtime::DeviceInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("index", info.index);
  object.Set("name", info.name);
  object.Set("uuid", info.uuid);
  object.Set("capability", info.capability);
  object.Set("totalBytes", static_cast<double>(info.totalBytes));
  object.Set("driverVersion", info.driverVersion);
  object.Set("isIntegrated", info.isIntegrated);
  return object;
}

Napi::Object fromMemory(Napi::Env env, const runtime::MemoryReport& report) {
  constexpr const char* kNames[runtime::kMemoryUses] = {"weights", "states", "transfers", "scratch",
                                                        "engines"};
  Napi::Object object = Napi::Object::New(env);
  for (int i = 0; i < runtime::kMemoryUses; ++i)
    object.Set(kNames[i], static_cast<double>(report.bytes[i]));
  object.Set("pinned", static_cast<double>(report.pinnedBytes));
  object.Set("free", static_cast<double>(report.freeBytes));
  object.Set("total", static_cast<double>(report.totalBytes));
  return object;
}

Napi::Object fromLayers(Napi::Env env, const std::vector<runtime::LayerTime>& layers) {
  Napi::Array names = Napi::Array::New(env, layers.size());
  Napi::Float64Array times = Napi::Float64Array::New(env, layers.size());
  for (uint32_t i = 0; i < layers.size(); ++i) {
    names.Set(i, layers[i].name);
    times[i] = static_cast<double>(layers[i].ms);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("names", names);
  object.Set("ms", times);
  return object;
}

Napi::Object fromKernels(Napi::Env env, const runtime::SessionKernels& kernels) {
  const auto one = [&](const runtime::KernelCache& cache) {
    Napi::Object object = Napi::Object::New(env);
    Napi::Uint8Array bytes = Napi::Uint8Array::New(env, cache.bytes.size());
    std::copy(cache.bytes.begin(), cache.bytes.end(), bytes.Data());
    object.Set("bytes", bytes);
    object.Set("refused", cache.refused);
    return object;
  };
  Napi::Object object = Napi::Object::New(env);
  object.Set("prepare", one(kernels.prepare));
  object.Set("step", one(kernels.step));
  object.Set("rounds", one(kernels.rounds));
  return object;
}

Napi::Object fromStep(Napi::Env env, const runtime::StepResult& result) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array outputs = Napi::Array::New(env, result.outputs.size());
  for (uint32_t i = 0; i < result.outputs.size(); ++i) {
    const runtime::OutputTensor& tensor = result.outputs[i];
    Napi::Object output = Napi::Object::New(env);
    output.Set("name", tensor.name);
    output.Set("type", tensor.type);
    Napi::Array dims = Napi::Array::New(env, tensor.dims.size());
    for (uint32_t d = 0; d < tensor.dims.size(); ++d)
      dims.Set(d, static_cast<double>(tensor.dims[d]));
    output.Set("dims", dims);
    Napi::Uint8Array data = Napi::Uint8Array::New(env, tensor.bytes.size());
    std::copy(tensor.bytes.begin(), tensor.bytes.end(), data.Data());
    output.Set("data", data);
    outputs.Set(i, output);
  }
  object.Set("outputs", outputs);
  object.Set("deviceMs", result.deviceMs);
  object.Set("enqueueMs", result.enqueueMs);
  object.Set("h2dMs", result.h2dMs);
  object.Set("computeMs", result.computeMs);
  object.Set("d2hMs", result.d2hMs);
  object.Set("isFirst", result.isFirst);
  object.Set("captureFailure", result.captureFailure);
  object.Set("layers", fromLayers(env, result.layers));
  if (!result.images.empty()) {
    Napi::Uint8Array images = Napi::Uint8Array::New(env, result.images.size());
    std::copy(result.images.begin(), result.images.end(), images.Data());
    object.Set("images", images);
  }
  return object;
}

}  // namespace semanticvla::napi
