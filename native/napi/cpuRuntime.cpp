#include "napi/cpuRuntime.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "napi/convert.h"
#include "napi/heldMemory.h"
#include "napi/queue.h"
#include "napi/settle.h"
#include "onnx/policyGraphs.h"

namespace semanticvla::napi {

namespace {

using onnx::ElementType;
using onnx::Interruptible;
using onnx::PolicyGraphs;

/// The graphs, and the runs that can be interrupted. A pending job keeps them alive.
struct Core {
  std::shared_ptr<const onnx::OrtApi> api;
  std::unique_ptr<PolicyGraphs> graphs;
  /// Of the graphs, after the last job.
  std::atomic<uint64_t> heldBytes{0};
  std::mutex mutex;
  /// Runs that were submitted and have not finished.
  std::set<Interruptible*> live;

  void interruptAll() {
    graphs->cancelLoad();
    const std::lock_guard<std::mutex> lock(mutex);
    for (Interruptible* run : live) run->interrupt();
  }
};

/// What the functions of the JS object hold.
struct Handle : std::enable_shared_from_this<Handle> {
  Handle(Napi::Env env, const std::string& library)
      : env(env), core(std::make_shared<Core>()), held(std::make_shared<HeldMemory>(env)) {
    core->api = std::make_shared<const onnx::OrtApi>(library);
    core->graphs = std::make_unique<PolicyGraphs>(core->api);
    queue = std::make_unique<Queue>(env);
    // Cleanup hooks run last in, first out: what runs is told to end before the queue waits for its
    // thread.
    if (napi_add_env_cleanup_hook(env, onEnvironmentExit, this) != napi_ok)
      throw Napi::Error::New(env);
  }
  ~Handle() { napi_remove_env_cleanup_hook(env, onEnvironmentExit, this); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  static void onEnvironmentExit(void* handle) {
    try {
      static_cast<Handle*>(handle)->core->interruptAll();
    } catch (const std::exception&) {
      // the run then ends a little later; nobody is left to tell
    }
  }

  Napi::Env env;
  std::shared_ptr<Core> core;
  std::shared_ptr<HeldMemory> held;
  std::unique_ptr<Queue> queue;
};

struct TypeName {
  ElementType type;
  const char* name;
};
/// Named as in lib/addon/onnxMessages.ts.
constexpr TypeName kTypeNames[] = {{ElementType::kFloat32, "float32"},
                                   {ElementType::kUint8, "uint8"},
                                   {ElementType::kInt32, "int32"},
                                   {ElementType::kInt64, "int64"},
                                   {ElementType::kBool, "bool"}};

ElementType toType(const Napi::Value& value) {
  const std::string text = value.ToString().Utf8Value();
  for (const TypeName& candidate : kTypeNames) {
    if (text == candidate.name) return candidate.type;
  }
  throw Napi::TypeError::New(value.Env(), "expected the name of an element type, found " + text);
}

/// Inputs by name, copied.
std::vector<onnx::Tensor> toTensors(const Napi::Value& value) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "expected an object for inputs");
  const Napi::Object object = value.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  std::vector<onnx::Tensor> tensors;
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const Napi::Value name = names.Get(i);
    const Napi::Value entry = object.Get(name);
    if (!entry.IsObject())
      throw Napi::TypeError::New(value.Env(), "expected a tensor for each input");
    const Napi::Object tensor = entry.As<Napi::Object>();
    const Napi::Value data = tensor.Get("data");
    const Napi::Value dims = tensor.Get("dims");
    if (!data.IsTypedArray() || !dims.IsArray()) {
      throw Napi::TypeError::New(
          value.Env(), "expected a typed array for data and an array for dims of an input");
    }
    onnx::Tensor made;
    made.name = name.ToString().Utf8Value();
    made.type = toType(tensor.Get("type"));
    size_t count = 1;
    const Napi::Array lengths = dims.As<Napi::Array>();
    for (uint32_t axis = 0; axis < lengths.Length(); ++axis) {
      const int64_t length = lengths.Get(axis).ToNumber().Int64Value();
      if (length < 0)
        throw Napi::RangeError::New(value.Env(), "expected no negative length in dims of an input");
      made.dims.push_back(length);
      count *= static_cast<size_t>(length);
    }
    const Napi::TypedArray array = data.As<Napi::TypedArray>();
    if (array.ByteLength() != count * onnx::elementBytes(made.type)) {
      throw Napi::RangeError::New(value.Env(), "expected as many numbers in data as dims say");
    }
    const uint8_t* first =
        static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    made.bytes.assign(first, first + array.ByteLength());
    tensors.push_back(std::move(made));
  }
  return tensors;
}

/// A typed array of the value's own kind with its numbers.
template <typename Array>
Napi::Value copyAs(Napi::Env env, const onnx::View& view) {
  Array array = Array::New(env, view.count);
  if (view.count > 0)
    std::memcpy(array.Data(), view.data, view.count * onnx::elementBytes(view.type));
  return array;
}

Napi::Value fromView(Napi::Env env, const onnx::View& view) {
  Napi::Object object = Napi::Object::New(env);
  // throws for a type that is not in the table
  onnx::elementBytes(view.type);
  for (const TypeName& candidate : kTypeNames) {
    if (candidate.type == view.type) object.Set("type", candidate.name);
  }
  switch (view.type) {
    case ElementType::kFloat32:
      object.Set("data", copyAs<Napi::Float32Array>(env, view));
      break;
    case ElementType::kInt32:
      object.Set("data", copyAs<Napi::Int32Array>(env, view));
      break;
    case ElementType::kInt64:
      object.Set("data", copyAs<Napi::BigInt64Array>(env, view));
      break;
    case ElementType::kUint8:
    case ElementType::kBool:
      object.Set("data", copyAs<Napi::Uint8Array>(env, view));
      break;
  }
  Napi::Array dims = Napi::Array::New(env, view.dims.size());
  for (uint32_t i = 0; i < view.dims.size(); ++i) dims.Set(i, static_cast<double>(view.dims[i]));
  object.Set("dims", dims);
  return object;
}

/// Milliseconds of the monotonic clock that process.hrtime reads.
double now() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Work on the graphs' thread that settles with `{outputs, ms, at}`.
class GraphJob final : public Job {
 public:
  using Work = std::function<onnx::Outputs(PolicyGraphs&, const Interruptible&)>;
  GraphJob(Napi::Env env, const Handle& handle, Work work)
      : Job(env),
        core_(handle.core),
        held_(handle.held),
        run_(std::make_shared<Interruptible>(core_->api)),
        work_(std::move(work)) {
    const std::lock_guard<std::mutex> lock(core_->mutex);
    core_->live.insert(run_.get());
  }
  ~GraphJob() override { over(); }

  /// Outlives the job, so that a late `cancel` is harmless.
  std::shared_ptr<Interruptible> run() const { return run_; }

  void work() override {
    at_ = now();
    try {
      outputs_ = work_(*core_->graphs, *run_);
    } catch (...) {
      core_->heldBytes = core_->graphs->heldBytes();
      throw;
    }
    core_->heldBytes = core_->graphs->heldBytes();
    ms_ = now() - at_;
    over();
  }

  void account() override {
    if (const auto held = held_.lock()) held->set(core_->heldBytes);
  }

  Napi::Value result(Napi::Env env) override {
    Napi::Object outputs = Napi::Object::New(env);
    for (size_t i = 0; i < outputs_.names.size(); ++i) {
      outputs.Set(outputs_.names[i], fromView(env, core_->graphs->view(outputs_.values[i].get())));
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("outputs", outputs);
    object.Set("ms", ms_);
    object.Set("at", at_);
    return object;
  }

 private:
  void over() {
    const std::lock_guard<std::mutex> lock(core_->mutex);
    core_->live.erase(run_.get());
  }

  // destroyed last: the values are in the graphs' memory
  std::shared_ptr<Core> core_;
  /// Weak: it ends on the JS thread, and a job perhaps on the queue's.
  std::weak_ptr<HeldMemory> held_;
  std::shared_ptr<Interruptible> run_;
  Work work_;
  onnx::Outputs outputs_;
  double at_ = 0;
  double ms_ = 0;
};

/// `{done, cancel}`
Napi::Value submit(Napi::Env env, Handle& handle, GraphJob::Work work) {
  if (handle.queue == nullptr) throw Napi::Error::New(env, "the runtime has ended");
  auto job = std::make_unique<GraphJob>(env, handle, std::move(work));
  const std::shared_ptr<Interruptible> run = job->run();
  Napi::Object object = Napi::Object::New(env);
  object.Set("cancel",
             Napi::Function::New(env, [run](const Napi::CallbackInfo&) { run->interrupt(); }));
  object.Set("done", handle.queue->submit(std::move(job), handle.shared_from_this()));
  return object;
}

uint64_t toState(const Napi::Value& value) {
  return static_cast<uint64_t>(value.IsNumber() ? value.As<Napi::Number>().Int64Value() : 0);
}

/// Size of an element, by TensorProto.DataType; 0 for types that are not floating point.
uint64_t floatBytes(int type) {
  switch (type) {
    case 1:
      return 4;
    case 10:
    case 16:
      return 2;
    case 11:
      return 8;
    default:
      return 0;
  }
}

/// @throws Napi errors for entries that are not weights, or whose size does not match their dims
std::vector<onnx::Weight> toWeights(const Napi::Object& request, const char* name) {
  const Napi::Value value = request.Get(name);
  if (!value.IsArray())
    throw Napi::TypeError::New(request.Env(), std::string("expected an array for ") + name);
  const Napi::Array list = value.As<Napi::Array>();
  std::vector<onnx::Weight> weights;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object entry = list.Get(i).ToObject();
    onnx::Weight weight;
    weight.name = entry.Get("name").ToString().Utf8Value();
    weight.type = toInt(entry.Get("type"), "type", 1, 64);
    weight.file = entry.Get("file").ToString().Utf8Value();
    weight.offset = static_cast<uint64_t>(entry.Get("offset").ToNumber().Int64Value());
    weight.bytes = static_cast<uint64_t>(entry.Get("byteLength").ToNumber().Int64Value());
    uint64_t bytes = floatBytes(weight.type);
    if (bytes == 0)
      throw Napi::TypeError::New(request.Env(), "expected a weight of floating-point numbers");
    const Napi::Array dims = entry.Get("dims").As<Napi::Array>();
    for (uint32_t axis = 0; axis < dims.Length(); ++axis) {
      const int64_t length = dims.Get(axis).ToNumber().Int64Value();
      if (length < 0)
        throw Napi::RangeError::New(request.Env(),
                                    "expected no negative length in dims of a weight");
      weight.dims.push_back(length);
      bytes *= static_cast<uint64_t>(length);
    }
    if (bytes != weight.bytes)
      throw Napi::RangeError::New(request.Env(), "expected as many bytes as dims say");
    weights.push_back(std::move(weight));
  }
  return weights;
}

/// Bytes of a model, or the path of its file.
onnx::Model toModel(const Napi::Object& request, const char* name, const char* weights) {
  const Napi::Value value = request.Get(name);
  onnx::Model model;
  model.weights = toWeights(request, weights);
  if (value.IsString()) {
    model.file = value.ToString().Utf8Value();
    return model;
  }
  if (!value.IsTypedArray()) {
    throw Napi::TypeError::New(request.Env(), std::string("expected bytes or a path for ") + name);
  }
  const BytesView bytes = toWritableBytes(value, name);
  model.bytes.assign(bytes.data, bytes.data + bytes.length);
  return model;
}

Napi::Value load(const Napi::CallbackInfo& info, Handle& handle) {
  if (!info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "expected an object for request");
  const Napi::Object request = info[0].As<Napi::Object>();
  const auto models = std::make_shared<std::array<onnx::Model, 3>>(
      std::array<onnx::Model, 3>{toModel(request, "instruction", "instructionWeights"),
                                 toModel(request, "policy", "policyWeights"),
                                 toModel(request, "denoiser", "denoiserWeights")});
  onnx::GraphOptions options;
  options.threads = toInt(request.Get("threads"), "threads", 0, 4096);
  options.lean = toBool(request, "lean");
  options.packedBytes = static_cast<uint64_t>(request.Get("packedBytes").ToNumber().Int64Value());
  const auto text = [&](const char* name) { return request.Get(name).ToString().Utf8Value(); };
  options.instructionProfile = text("instructionProfile");
  options.policyProfile = text("policyProfile");
  options.denoiserProfile = text("denoiserProfile");
  options.stagePrefix = text("stagePrefix");
  const Napi::Object config = request.Get("config").ToObject();
  const Napi::Array keys = config.GetPropertyNames();
  for (uint32_t i = 0; i < keys.Length(); ++i) {
    const Napi::Value key = keys.Get(i);
    options.config.emplace_back(key.ToString().Utf8Value(), config.Get(key).ToString().Utf8Value());
  }
  const std::shared_ptr<Core> core = handle.core;
  Napi::Object loading =
      submit(info.Env(), handle, [models, options](PolicyGraphs& graphs, const Interruptible&) {
        graphs.load((*models)[0], (*models)[1], (*models)[2], options);
        return onnx::Outputs();
      }).As<Napi::Object>();
  loading.Set("cancel", Napi::Function::New(info.Env(), [core](const Napi::CallbackInfo&) {
                core->graphs->cancelLoad();
              }));
  return loading;
}

Napi::Value encode(const Napi::CallbackInfo& info, Handle& handle) {
  const uint64_t state = toState(info[0]);
  const auto inputs = std::make_shared<std::vector<onnx::Tensor>>(toTensors(info[1]));
  return submit(info.Env(), handle,
                [state, inputs](PolicyGraphs& graphs, const Interruptible& run) {
                  return graphs.encode(state, *inputs, run);
                });
}

/// `(state, kept, inputs)` of `PolicyGraphs::run` or `::denoise`.
template <onnx::Outputs (PolicyGraphs::*method)(uint64_t, uint64_t, std::vector<onnx::Tensor>&,
                                                const Interruptible&)>
Napi::Value compute(const Napi::CallbackInfo& info, Handle& handle) {
  const uint64_t state = toState(info[0]);
  const uint64_t kept = toState(info[1]);
  const auto inputs = std::make_shared<std::vector<onnx::Tensor>>(toTensors(info[2]));
  return submit(info.Env(), handle,
                [state, kept, inputs](PolicyGraphs& graphs, const Interruptible& run) {
                  return (graphs.*method)(state, kept, *inputs, run);
                });
}

Napi::Value release(const Napi::CallbackInfo& info, Handle& handle) {
  const uint64_t state = toState(info[0]);
  return submit(info.Env(), handle, [state](PolicyGraphs& graphs, const Interruptible&) {
    graphs.release(state);
    return onnx::Outputs();
  });
}

Napi::Value endProfiling(const Napi::CallbackInfo& info, Handle& handle) {
  return submit(info.Env(), handle, [](PolicyGraphs& graphs, const Interruptible&) {
    graphs.endProfiling();
    return onnx::Outputs();
  });
}

Napi::Value close(const Napi::CallbackInfo& info, Handle& handle) {
  return submit(info.Env(), handle, [](PolicyGraphs& graphs, const Interruptible&) {
    graphs.close();
    return onnx::Outputs();
  });
}

/// Ends the thread once nothing is pending, rather than waiting for garbage collection.
Napi::Value end(const Napi::CallbackInfo& info, Handle& handle) {
  handle.queue.reset();
  return info.Env().Undefined();
}

}  // namespace

Napi::Value openCpuRuntime(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "expected a string for library");
  std::shared_ptr<Handle> handle;
  try {
    handle = std::make_shared<Handle>(env, info[0].As<Napi::String>().Utf8Value());
  } catch (...) {
    throw toJsError(env, std::current_exception());
  }
  Napi::Object object = Napi::Object::New(env);
  const auto add = [&](const char* name,
                       Napi::Value (*method)(const Napi::CallbackInfo&, Handle&)) {
    object.Set(
        name,
        Napi::Function::New(
            env, [handle, method](const Napi::CallbackInfo& call) { return method(call, *handle); },
            name));
  };
  add("load", load);
  add("encode", encode);
  add("run", compute<&PolicyGraphs::run>);
  add("denoise", compute<&PolicyGraphs::denoise>);
  add("release", release);
  add("endProfiling", endProfiling);
  add("close", close);
  add("end", end);
  return object;
}

}  // namespace semanticvla::napi
