#include <fstream>
#include <stdexcept>

#include "executable.h"
#include "standInEngine.h"

namespace standin {

namespace {

using namespace semanticvla::runtime;

// fields of TensorProto
constexpr uint32_t kRawData = 9, kExternalData = 13, kDataLocation = 14;

/// The weights of external files into the model: a plan with baked weights needs no other file.
void inlineWeights(OnnxFile& file, const std::string& modelPath) {
  const std::string folder = modelPath.substr(0, modelPath.rfind('/') + 1);
  for (Initializer& one : file.initializers) {
    std::map<std::string, std::string> place;
    for (const std::string& bytes : one.tensor.texts(kExternalData)) {
      const Message entry(bytes);
      place[entry.text(1)] = entry.text(2);
    }
    if (place.empty()) continue;
    std::ifstream weights(folder + place["location"], std::ios::binary);
    weights.seekg(std::stoll(place["offset"]));
    std::string bytes(std::stoull(place["length"]), '\0');
    if (!weights.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
      throw std::runtime_error(folder + place["location"] + ": " + one.name + " cannot be read");
    one.tensor.drop(kExternalData);
    one.tensor.drop(kDataLocation);
    one.tensor.add(kRawData, bytes);
  }
}

/// As TensorRT lists a plan (lib/engine/planLayers.ts). Sizes are not known here: where an operand
/// of a product is a matrix they are open, else left out. A product reads levels where
/// DequantizeLinear is before it: TensorRT computes both in one kernel.
std::string layersOf(const OnnxFile& file) {
  static const std::map<int64_t, const char*> names{
      {kFloat32, "Float"}, {kFloat16, "Half"}, {kBfloat16, "BFloat16"},
      {kInt32, "Int32"},   {kInt64, "Int64"},  {kInt8, "Int8"},
      {kUint8, "UInt8"},   {kBool, "Bool"},    {kFloat8, "FP8"}};
  const std::map<std::string, int64_t> types = inferTypes(file);
  std::map<std::string, std::string> levels;
  for (const Node& node : file.nodes)
    if (node.op == "DequantizeLinear") levels[node.outputs[0]] = node.inputs[0];
  std::string text = "Layers:\n";
  for (const Node& node : file.nodes) {
    const bool isProduct = node.op == "Gemm" || node.op == "MatMul" || node.op == "Conv";
    const auto list = [&](const std::vector<std::string>& tensors) {
      std::string all;
      for (const std::string& listed : tensors) {
        const auto quantized = isProduct ? levels.find(listed) : levels.end();
        const std::string& one = quantized == levels.end() ? listed : quantized->second;
        const auto type = names.find(types.at(one));
        if (one.empty()) continue;
        all += (all.empty() ? " { Name: " : ", { Name: ") + one + ", Dimensions: [" +
               (isProduct ? "-1,-1" : "-1") +
               "], Datatype: " + (type == names.end() ? "unknown" : type->second) + " }";
      }
      return "[" + all + "]";
    };
    text += "Name: " + node.name + ", LayerType: " +
            (node.domain == kOwnDomain ? "PluginV3"
             : isProduct               ? "gemm"
                                       : "standin") +
            ", Inputs: " + list(node.inputs) + ", Outputs: " + list(node.outputs) +
            ", TacticName: onnxruntime, StreamId: 0, Metadata: [ONNX Layer: " + node.name + "]\n";
  }
  return text;
}

std::string describe(const std::map<std::string, int>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  return text.empty() ? "none" : text;
}

std::string numbers(const std::vector<int64_t>& all) {
  std::string text;
  for (const int64_t one : all) text += (text.empty() ? "" : ",") + std::to_string(one);
  return text;
}

}  // namespace

BuildResult build(const EntryPoints&, const BuildRequest& request) {
  OnnxFile file(std::string(request.model.begin(), request.model.end()));
  BuildResult result;
  result.networkLayers = static_cast<int>(file.nodes.size());
  for (const Node& node : file.nodes)
    if (node.domain == kOwnDomain) ++result.plugins[node.op];
  if (result.plugins != request.plugins) {
    throw std::runtime_error("plugins in the parsed network: expected " +
                             describe(request.plugins) + ", found " + describe(result.plugins));
  }
  const auto list = [&](const std::vector<Value>& values, bool isInput) {
    for (const Value& one : values) {
      TensorInfo info{one.name, typeName(one.type), {}, isInput};
      for (const Dimension& dim : one.dims) info.dims.push_back(dim.size);
      result.tensors.push_back(info);
    }
  };
  list(file.inputs, true);
  list(file.outputs, false);
  if (request.progress) {
    result.isCancelled = !request.progress({"Building engine", "", 1, 1});
    if (result.isCancelled) return result;
  }
  result.layers = {layersOf(file)};
  if (!request.modelPath.empty()) inlineWeights(file, request.modelPath);
  file.metadata["standin"] = "1";
  for (size_t i = 0; i < request.profiles.size(); ++i) {
    for (const InputRange& range : request.profiles[i]) {
      file.metadata["profile " + std::to_string(i) + " " + range.name] =
          numbers(range.min) + " " + numbers(range.max);
    }
  }
  const std::string plan = file.encoded();
  result.plan = Blob::of({plan.begin(), plan.end()});
  return result;
}

}  // namespace standin
