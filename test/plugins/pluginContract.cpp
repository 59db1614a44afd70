// What TensorRT asks of a plugin library, asked without TensorRT: opens the module named by argv[1]
// the way `trtexec --dynamicPlugins` does and checks every answer. Prints what is wrong; ends with
// the number of faults.

#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

int faults = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("FAULT %s\n", what.c_str());
  ++faults;
}

class Log final : public ILogger {
 public:
  void log(Severity, const char* message) noexcept override { last = message; }
  std::string last;
};

class Finder final : public ILoggerFinder {
 public:
  explicit Finder(Log& log) : log_(log) {}
  ILogger* findLogger() override { return &log_; }

 private:
  Log& log_;
};

Dims dimsOf(const std::vector<int64_t>& sizes) {
  Dims dims{};
  dims.nbDims = static_cast<int32_t>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) dims.d[i] = sizes[i];
  return dims;
}

DynamicPluginTensorDesc describe(DataType type, const std::vector<int64_t>& sizes) {
  DynamicPluginTensorDesc tensor{};
  tensor.desc.type = type;
  tensor.desc.format = TensorFormat::kLINEAR;
  tensor.desc.dims = dimsOf(sizes);
  tensor.min = tensor.opt = tensor.max = tensor.desc.dims;
  return tensor;
}

template <typename T>
T* capability(IPluginV3* plugin, PluginCapabilityType type) {
  return static_cast<T*>(plugin->getCapabilityInterface(type));
}

struct Case {
  std::vector<PluginField> fields;
  std::vector<DynamicPluginTensorDesc> inputs;
  std::vector<DynamicPluginTensorDesc> outputs;
};

const int32_t kTopk = 32;
const int32_t kTextTopk = 5;
const int32_t kTooMany = 257;
const int32_t kBlock = 64;
const float kTemperature = 0.5f;

Case caseOf(const std::string& name, DataType type) {
  const DynamicPluginTensorDesc patches = describe(type, {2, 256, 1152});
  const DynamicPluginTensorDesc similarity = describe(DataType::kFLOAT, {2, 256, 64});
  if (name == "instructionTopK") {
    return {{{"topk", &kTopk, PluginFieldType::kINT32, 1}},
            {patches, describe(type, {64, 1152}), describe(DataType::kBOOL, {64})},
            {describe(type, {2, 32, 1152}), describe(DataType::kINT64, {2, 32}), similarity}};
  }
  if (name == "textGuidedPooling") {
    return {{{"topk", &kTextTopk, PluginFieldType::kINT32, 1},
             {"temperature", &kTemperature, PluginFieldType::kFLOAT32, 1}},
            {patches, similarity},
            {describe(type, {2, 5, 1152}), describe(DataType::kINT64, {2, 5})}};
  }
  if (name == "swigluLevels") {
    return {{{"block", &kBlock, PluginFieldType::kINT32, 1}},
            {describe(type, {40, 256}), describe(DataType::kFLOAT, {40, 1}),
             describe(DataType::kFLOAT, {1, 256})},
            {describe(DataType::kINT8, {40, 128}), describe(DataType::kFLOAT, {40, 1})}};
  }
  return {{},
          {describe(type, {2, 32, 1024}), describe(type, {2, 32, 1152})},
          {describe(type, {2, 32, 2176})}};
}

IPluginV3* create(IPluginCreatorV3One* creator, const std::vector<PluginField>& fields,
                  TensorRTPhase phase) {
  const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return creator->createPlugin("layer", &collection, phase);
}

void checkTypes(IPluginV3OneBuild* build, const std::string& name, const Case& one) {
  std::vector<DynamicPluginTensorDesc> all = one.inputs;
  all.insert(all.end(), one.outputs.begin(), one.outputs.end());
  const auto inputs = static_cast<int32_t>(one.inputs.size());
  const auto outputs = static_cast<int32_t>(one.outputs.size());
  expect(build->getNbOutputs() == outputs, name + ": number of outputs");
  for (int32_t i = 0; i < inputs + outputs; ++i) {
    expect(build->supportsFormatCombination(i, all.data(), inputs, outputs),
           name + ": refuses its own type at " + std::to_string(i));
    std::vector<DynamicPluginTensorDesc> wrong = all;
    wrong[i].desc.type = DataType::kUINT8;
    expect(!build->supportsFormatCombination(i, wrong.data(), inputs, outputs),
           name + ": takes uint8 at " + std::to_string(i));
    wrong = all;
    wrong[i].desc.format = TensorFormat::kCHW4;
    expect(!build->supportsFormatCombination(i, wrong.data(), inputs, outputs),
           name + ": takes another layout at " + std::to_string(i));
  }
  std::vector<DataType> inputTypes;
  for (const auto& input : one.inputs) inputTypes.push_back(input.desc.type);
  std::vector<DataType> outputTypes(outputs);
  expect(build->getOutputDataTypes(outputTypes.data(), outputs, inputTypes.data(), inputs) == 0,
         name + ": types");
  for (int32_t i = 0; i < outputs; ++i) {
    expect(outputTypes[i] == one.outputs[i].desc.type,
           name + ": type of output " + std::to_string(i));
  }
  expect(build->getOutputDataTypes(outputTypes.data(), outputs + 1, inputTypes.data(), inputs) != 0,
         name + ": takes another number of outputs");
}

void checkShapes(IPluginV3* plugin, const std::string& name, const Case& one) {
  auto* build = capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
  auto* runtime = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const auto inputs = static_cast<int32_t>(one.inputs.size());
  const auto outputs = static_cast<int32_t>(one.outputs.size());
  expect(build->configurePlugin(one.inputs.data(), inputs, one.outputs.data(), outputs) == 0,
         name + ": configure");
  std::vector<PluginTensorDesc> in, out;
  for (const auto& tensor : one.inputs) in.push_back(tensor.desc);
  for (const auto& tensor : one.outputs) out.push_back(tensor.desc);
  expect(runtime->onShapeChange(in.data(), inputs, out.data(), outputs) == 0, name + ": shapes");
  std::vector<PluginTensorDesc> wrong = in;
  wrong[1].dims.d[0] += 1;
  wrong[1].dims.d[wrong[1].dims.nbDims - 1] += 1;
  expect(runtime->onShapeChange(wrong.data(), inputs, out.data(), outputs) != 0,
         name + ": takes shapes that disagree");
  wrong = in;
  wrong[0].dims.nbDims = 1;
  expect(runtime->onShapeChange(wrong.data(), inputs, out.data(), outputs) != 0,
         name + ": takes another rank");
  // Not known yet, as during the build of an engine with dynamic shapes.
  std::vector<DynamicPluginTensorDesc> open = one.inputs;
  for (auto& tensor : open) tensor.desc.dims.d[0] = -1;
  expect(build->configurePlugin(open.data(), inputs, one.outputs.data(), outputs) == 0,
         name + ": open dimension");
}

/// What the plan keeps must make the same plugin again.
void checkSerialization(IPluginV3* plugin, IPluginCreatorV3One* creator, const std::string& name,
                        const Case& one, Log& log) {
  auto* runtime = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const PluginFieldCollection* saved = runtime->getFieldsToSerialize();
  expect(saved != nullptr && saved->nbFields == static_cast<int32_t>(one.fields.size()),
         name + ": saved fields");
  if (saved == nullptr) return;
  for (int32_t i = 0; i < saved->nbFields; ++i) {
    expect(std::strcmp(saved->fields[i].name, one.fields[i].name) == 0 &&
               saved->fields[i].type == one.fields[i].type &&
               std::memcmp(saved->fields[i].data, one.fields[i].data, 4) == 0,
           name + ": saved field " + one.fields[i].name);
  }
  std::unique_ptr<IPluginV3> again(creator->createPlugin("layer", saved, TensorRTPhase::kRUNTIME));
  expect(again != nullptr, name + ": made again from what was saved");
  std::unique_ptr<IPluginV3> copy(plugin->clone());
  expect(copy != nullptr, name + ": clone");
  auto* core = copy == nullptr
                   ? nullptr
                   : capability<IPluginV3OneCore>(copy.get(), PluginCapabilityType::kCORE);
  expect(core != nullptr && name == core->getPluginName(), name + ": name of the clone");
  log.last.clear();
  std::unique_ptr<IPluginV3> attached(runtime->attachToContext(nullptr));
  // Where a context's copy has counters in device memory and there is no device, it is refused
  // with the reason.
  const bool isRefused = name == "instructionTopK" && attached == nullptr &&
                         log.last.find("bytes of device memory") != std::string::npos;
  expect(isRefused || (attached != nullptr && attached.get() != plugin),
         name + ": one plugin a context, found: " + log.last);
}

void checkRefusals(IPluginCreatorV3One* creator, const std::string& name, const Case& one,
                   Log& log) {
  if (one.fields.empty()) return;
  log.last.clear();
  expect(create(creator, {}, TensorRTPhase::kBUILD) == nullptr, name + ": made without attributes");
  expect(log.last.find(name) != std::string::npos &&
             log.last.find(one.fields[0].name) != std::string::npos,
         name + ": logs which attribute is missing, found: " + log.last);
  for (const int32_t& bad : {kTooMany, 0, -1}) {
    std::vector<PluginField> fields = one.fields;
    fields[0].data = &bad;
    expect(create(creator, fields, TensorRTPhase::kBUILD) == nullptr,
           name + ": " + one.fields[0].name + " " + std::to_string(bad));
  }
  std::vector<PluginField> fields = one.fields;
  fields[0].type = PluginFieldType::kFLOAT32;
  expect(create(creator, fields, TensorRTPhase::kBUILD) == nullptr,
         name + ": " + one.fields[0].name + " of another type");
  if (fields.size() > 1) {
    fields = one.fields;
    for (const float& bad : {0.0f, -1.0f, NAN, INFINITY}) {
      fields[1].data = &bad;
      expect(create(creator, fields, TensorRTPhase::kBUILD) == nullptr,
             name + ": temperature " + std::to_string(bad));
    }
  }
}

void checkEnqueue(IPluginV3* plugin, const std::string& name, const Case& one, Log& log) {
  auto* runtime = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  std::vector<PluginTensorDesc> in, out;
  for (const auto& tensor : one.inputs) in.push_back(tensor.desc);
  for (const auto& tensor : one.outputs) out.push_back(tensor.desc);
  const std::vector<const void*> inputs(in.size(), nullptr);
  const std::vector<void*> outputs(out.size(), nullptr);
  log.last.clear();
  const int32_t status =
      runtime->enqueue(in.data(), out.data(), inputs.data(), outputs.data(), nullptr, nullptr);
  expect(status != 0, name + ": runs on null pointers");
  // The launcher refuses the pointers, or there is no device for its counters, or there is no
  // launcher in a module built without nvcc.
  expect(log.last.find("pointer") != std::string::npos ||
             log.last.find("bytes of device memory") != std::string::npos ||
             log.last.find("without nvcc") != std::string::npos,
         name + ": says why it did not run, found: " + log.last);
}

}  // namespace

int main(int, char** argv) {
  void* module = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    std::printf("FAULT %s\n", dlerror());
    return 1;
  }
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  using SetLoggerFinder = void (*)(ILoggerFinder*);
  const auto getCreators = reinterpret_cast<GetCreators>(dlsym(module, "getCreators"));
  const auto setLoggerFinder = reinterpret_cast<SetLoggerFinder>(dlsym(module, "setLoggerFinder"));
  expect(getCreators != nullptr && setLoggerFinder != nullptr, "the symbols of a plugin library");
  if (faults > 0) return faults;

  Log log;
  Finder finder(log);
  setLoggerFinder(&finder);
  int32_t count = 0;
  IPluginCreatorInterface* const* all = getCreators(count);
  expect(count == 4, "four creators");
  std::map<std::string, int> names;
  for (int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<IPluginCreatorV3One*>(all[i]);
    const std::string name = creator->getPluginName();
    ++names[name];
    expect(std::string(creator->getPluginNamespace()).empty(), name + ": empty namespace");
    for (const DataType type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16}) {
      const Case one = caseOf(name, type);
      expect(creator->getFieldNames()->nbFields == static_cast<int32_t>(one.fields.size()),
             name + ": field names");
      std::unique_ptr<IPluginV3> plugin(create(creator, one.fields, TensorRTPhase::kBUILD));
      expect(plugin != nullptr, name + ": created");
      if (plugin == nullptr) continue;
      checkTypes(capability<IPluginV3OneBuild>(plugin.get(), PluginCapabilityType::kBUILD), name,
                 one);
      checkShapes(plugin.get(), name, one);
      checkSerialization(plugin.get(), creator, name, one, log);
      checkRefusals(creator, name, one, log);
      checkEnqueue(plugin.get(), name, one, log);
    }
  }
  for (const char* name :
       {"instructionTopK", "textGuidedPooling", "channelConcat", "swigluLevels"}) {
    expect(names[name] == 1, std::string("one creator of ") + name);
  }
  setLoggerFinder(nullptr);
  std::printf("%d faults\n", faults);
  return faults;
}
