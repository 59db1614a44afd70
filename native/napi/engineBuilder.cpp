#include "napi/engineBuilder.h"

#include <algorithm>
#include <utility>

#include "napi/heldMemory.h"
#include "napi/settle.h"

namespace semanticvla::napi {

namespace {

/// Warnings kept for the report; a build with more repeats itself.
constexpr size_t kMostWarnings = 64;

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

std::string toString(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsString())
    throw Napi::TypeError::New(object.Env(), std::string("expected a string for ") + name);
  return value.As<Napi::String>().Utf8Value();
}

double toNumber(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber())
    throw Napi::TypeError::New(object.Env(), std::string("expected a number for ") + name);
  return value.As<Napi::Number>().DoubleValue();
}

std::vector<uint8_t> toByteVector(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(object.Env(), std::string("expected a Uint8Array for ") + name);
  }
  const Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<int64_t> toSizes(const Napi::Object& object, const char* name) {
  const Napi::Array array = toArray(object.Get(name), name);
  std::vector<int64_t> sizes;
  for (uint32_t i = 0; i < array.Length(); ++i)
    sizes.push_back(array.Get(i).ToNumber().Int64Value());
  return sizes;
}

std::vector<runtime::Profile> toProfiles(const Napi::Value& value) {
  const Napi::Array array = toArray(value, "profiles");
  std::vector<runtime::Profile> profiles(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Array ranges = toArray(array.Get(i), "profile");
    for (uint32_t j = 0; j < ranges.Length(); ++j) {
      const Napi::Object range = toObject(ranges.Get(j), "range");
      profiles[i].push_back({toString(range, "name"), toSizes(range, "min"), toSizes(range, "opt"),
                             toSizes(range, "max")});
    }
  }
  return profiles;
}

std::map<std::string, int> toCounts(const Napi::Object& object) {
  std::map<std::string, int> counts;
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    counts[name] = object.Get(name).ToNumber().Int32Value();
  }
  return counts;
}

runtime::BuildRequest toRequest(const Napi::Object& object) {
  runtime::BuildRequest request;
  request.model = toByteVector(object, "model");
  request.modelPath = toString(object, "modelPath");
  request.profiles = toProfiles(object.Get("profiles"));
  for (const int64_t target : toSizes(object, "targets"))
    request.targets.push_back(static_cast<int>(target));
  request.optimizationLevel = static_cast<int>(toNumber(object, "optimizationLevel"));
  request.workspaceBytes = static_cast<uint64_t>(toNumber(object, "workspaceBytes"));
  request.timingCache = toByteVector(object, "timingCache");
  request.plugins = toCounts(toObject(object.Get("plugins"), "plugins"));
  return request;
}

Napi::Object fromVersion(Napi::Env env, const runtime::Version& version) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("major", version.major);
  object.Set("minor", version.minor);
  object.Set("patch", version.patch);
  object.Set("build", version.build);
  return object;
}

Napi::Array fromTensors(Napi::Env env, const std::vector<runtime::TensorInfo>& tensors) {
  Napi::Array array = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const runtime::TensorInfo& tensor = tensors[i];
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", tensor.name);
    object.Set("type", tensor.type);
    object.Set("isInput", tensor.isInput);
    Napi::Array dims = Napi::Array::New(env, tensor.dims.size());
    for (uint32_t d = 0; d < tensor.dims.size(); ++d)
      dims.Set(d, static_cast<double>(tensor.dims[d]));
    object.Set("dims", dims);
    array.Set(i, object);
  }
  return array;
}

Napi::Array fromStrings(Napi::Env env, const std::vector<std::string>& strings) {
  Napi::Array array = Napi::Array::New(env, strings.size());
  for (uint32_t i = 0; i < strings.size(); ++i) array.Set(i, strings[i]);
  return array;
}

Napi::Uint8Array fromByteVector(Napi::Env env, const std::vector<uint8_t>& bytes) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes.size());
  std::copy(bytes.begin(), bytes.end(), array.Data());
  return array;
}

/// { byteLength, read(offset, length), release() }: JS copies it in parts, since 15 GB do not fit
/// into one array.
Napi::Object fromBlob(Napi::Env env, runtime::Blob&& given) {
  const auto blob = std::make_shared<runtime::Blob>(std::move(given));
  const auto held = std::make_shared<HeldMemory>(env);
  held->set(blob->bytes);
  Napi::Object object = Napi::Object::New(env);
  object.Set("byteLength", static_cast<double>(blob->bytes));
  object.Set(
      "read", Napi::Function::New(env, [blob](const Napi::CallbackInfo& info) -> Napi::Value {
        const auto number = [&](size_t i) {
          const double value = info[i].IsNumber() ? info[i].As<Napi::Number>().DoubleValue() : -1;
          return value >= 0 && value <= static_cast<double>(blob->bytes)
                     ? static_cast<size_t>(value)
                     : SIZE_MAX;
        };
        const size_t offset = number(0), length = number(1);
        if (offset > blob->bytes || length > blob->bytes - offset) {
          throw Napi::RangeError::New(
              info.Env(),
              "expected a part of the " + std::to_string(blob->bytes) + " bytes that are there");
        }
        Napi::Uint8Array part = Napi::Uint8Array::New(info.Env(), length);
        std::copy(blob->data + offset, blob->data + offset + length, part.Data());
        return part;
      }));
  object.Set("release", Napi::Function::New(env, [blob, held](const Napi::CallbackInfo&) {
               *blob = {};
               held->set(0);
             }));
  return object;
}

/// `combineTimingCaches` of the addon.
class CombineJob final : public Job {
 public:
  explicit CombineJob(const Napi::CallbackInfo& info) : Job(info.Env()) {
    const Napi::Object request = toObject(info[0], "request");
    library_ = toString(request, "library");
    parser_ = toString(request, "parser");
    module_ = toString(request, "module");
    first_ = toByteVector(request, "first");
    second_ = toByteVector(request, "second");
  }

  void work() override {
    const runtime::OpenedTensorRt opened = runtime::openTensorRt(library_, parser_, module_);
    if (opened.module->combineTimingCaches == nullptr)
      throw std::runtime_error("this TensorRT has no timing cache");
    all_ = opened.module->combineTimingCaches(opened.entryPoints, first_, second_);
  }
  Napi::Value result(Napi::Env env) override { return fromByteVector(env, all_); }

 private:
  std::string library_;
  std::string parser_;
  std::string module_;
  std::vector<uint8_t> first_;
  std::vector<uint8_t> second_;
  std::vector<uint8_t> all_;
};

}  // namespace

Napi::Value fromBuildProgress(Napi::Env env, const CountedProgress& progress) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("phase", progress.step.phase);
  object.Set("parent", progress.step.parent);
  object.Set("step", progress.step.step);
  object.Set("steps", progress.step.steps);
  object.Set("stepsDone", progress.done);
  return object;
}

EngineBuildJob::EngineBuildJob(const Napi::CallbackInfo& info) : Job(info.Env()) {
  const Napi::Object request = toObject(info[0], "request");
  library_ = toString(request, "library");
  parser_ = toString(request, "parser");
  module_ = toString(request, "module");
  request_ = toRequest(request);
  if (!info[1].IsFunction())
    throw Napi::TypeError::New(info.Env(), "expected a function for onProgress");
  reporter_ = std::make_unique<BuildReporter>(info.Env(), info[1].As<Napi::Function>(),
                                              "semanticvla build progress");
  // one call at a time, from any of TensorRT's threads
  request_.progress = [this](const runtime::BuildProgress& progress) {
    reporter_->report({progress, ++steps_});
    return !cancelled->load();
  };
  request_.log = [this](runtime::Severity severity, const char* message) {
    if (severity <= runtime::Severity::kWarning && warnings_.size() < kMostWarnings)
      warnings_.emplace_back(message);
  };
}

EngineBuildJob::~EngineBuildJob() = default;

void EngineBuildJob::work() {
  if (cancelled->load()) {
    result_.isCancelled = true;
    return;
  }
  const runtime::OpenedTensorRt opened = runtime::openTensorRt(library_, parser_, module_);
  result_ = opened.module->build(opened.entryPoints, request_);
}

Napi::Value EngineBuildJob::result(Napi::Env env) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("isCancelled", result_.isCancelled);
  object.Set("plan", fromBlob(env, std::move(result_.plan)));
  object.Set("timingCache", fromByteVector(env, result_.timingCache));
  object.Set("timingCacheRefused", result_.timingCacheRefused);
  object.Set("layers", fromStrings(env, result_.layers));
  object.Set("tensors", fromTensors(env, result_.tensors));
  object.Set("networkLayers", result_.networkLayers);
  object.Set("warnings", fromStrings(env, warnings_));
  return object;
}

/// A terminating worker waits for the queue's thread, which waits for the build: cancel that first.
/// Hooks run last in, first out, so this one runs before the queue's own.
EngineBuilds::EngineBuilds(Napi::Env env) : queue_(env) {
  env.AddCleanupHook([this] {
    for (const auto& flag : running_) {
      if (const auto cancelled = flag.lock()) cancelled->store(true);
    }
  });
}

Napi::Value EngineBuilds::start(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<EngineBuildJob>(info);
  const auto cancelled = job->cancelled;
  const auto isOver = [](const auto& flag) { return flag.expired(); };
  running_.erase(std::remove_if(running_.begin(), running_.end(), isOver), running_.end());
  running_.push_back(cancelled);
  Napi::Object build = Napi::Object::New(info.Env());
  build.Set("cancel", Napi::Function::New(info.Env(), [cancelled](const Napi::CallbackInfo&) {
              cancelled->store(true);
            }));
  build.Set("done", queue_.submit(std::move(job)));
  return build;
}

Napi::Value EngineBuilds::combineTimingCaches(const Napi::CallbackInfo& info) {
  return queue_.submit(std::make_unique<CombineJob>(info));
}

Napi::Value inspectTensorRt(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object request = toObject(info[0], "request");
  try {
    Napi::Object object = Napi::Object::New(env);
    const runtime::LibraryInfo library = runtime::inspectLibrary(toString(request, "library"));
    object.Set("version", fromVersion(env, library.version));
    object.Set("family", library.family);
    const std::string modulePath = toString(request, "module");
    if (modulePath.empty()) return object;
    const runtime::Module& module = runtime::openModule(modulePath);
    object.Set("moduleFamily", module.family);
    object.Set("headers", fromVersion(env, module.headers));
    object.Set("hasKernels", module.hasKernels);
    return object;
  } catch (...) {
    throw toJsError(env, std::current_exception());
  }
}

}  // namespace semanticvla::napi
