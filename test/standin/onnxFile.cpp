#include "onnxFile.h"

#include <cstring>
#include <set>
#include <stdexcept>

namespace standin {

namespace {

uint64_t readVarint(const std::string& bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at >= bytes.size()) break;
    const auto byte = static_cast<uint8_t>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7fU) << shift;
    if (byte < 0x80U) return value;
  }
  throw std::runtime_error("expected an ONNX model, found something else");
}

void writeVarint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80U; value >>= 7) bytes += static_cast<char>(value | 0x80U);
  bytes += static_cast<char>(value);
}

Value readValue(const std::string& bytes) {
  const Message info(bytes);
  const Message tensor(Message(info.text(2)).text(1));
  Value value{info.text(1), tensor.number(1), {}};
  for (const std::string& one : Message(tensor.text(2)).texts(1)) {
    const Message dim(one);
    value.dims.push_back(dim.has(1) ? Dimension{dim.number(1), ""} : Dimension{-1, dim.text(2)});
  }
  return value;
}

std::string writeValue(const Value& value) {
  Message shape;
  for (const Dimension& one : value.dims) {
    Message dim;
    if (one.size >= 0) {
      dim.add(1, one.size);
    } else {
      dim.add(2, one.symbol);
    }
    shape.add(1, dim.encoded());
  }
  Message tensor, type, info;
  tensor.add(1, value.type);
  tensor.add(2, shape.encoded());
  type.add(1, tensor.encoded());
  info.add(1, value.name);
  info.add(2, type.encoded());
  return info.encoded();
}

Node readNode(const std::string& bytes) {
  const Message message(bytes);
  Node node{message.text(3),  message.text(4),  message.text(7),
            message.texts(1), message.texts(2), {}};
  for (const std::string& one : message.texts(5)) node.attributes.emplace_back(one);
  return node;
}

std::string writeNode(const Node& node) {
  Message message;
  for (const std::string& name : node.inputs) message.add(1, name);
  for (const std::string& name : node.outputs) message.add(2, name);
  message.add(3, node.name);
  message.add(4, node.op);
  for (const Message& one : node.attributes) message.add(5, one.encoded());
  message.add(7, node.domain);
  return message.encoded();
}

// fields of AttributeProto
constexpr uint32_t kInteger = 3, kTensor = 5, kIntegers = 8;

}  // namespace

Message::Message(const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t key = readVarint(bytes, at);
    Field field{static_cast<uint32_t>(key >> 3), static_cast<uint32_t>(key & 7U), 0, {}};
    if (field.wire == 0) {
      field.value = readVarint(bytes, at);
    } else {
      size_t length = field.wire == 1 ? 8 : 4;
      if (field.wire == 2) length = readVarint(bytes, at);
      if (field.wire > 5 || length > bytes.size() - at)
        throw std::runtime_error("expected an ONNX model, found something else");
      field.bytes = bytes.substr(at, length);
      at += length;
    }
    fields_.push_back(std::move(field));
  }
}

std::string Message::encoded() const {
  std::string bytes;
  for (const Field& field : fields_) {
    writeVarint(bytes, static_cast<uint64_t>(field.number) << 3 | field.wire);
    if (field.wire == 0) {
      writeVarint(bytes, field.value);
      continue;
    }
    if (field.wire == 2) writeVarint(bytes, field.bytes.size());
    bytes += field.bytes;
  }
  return bytes;
}

std::string Message::text(uint32_t number) const {
  std::string found;
  for (const Field& field : fields_)
    if (field.number == number && field.wire != 0) found = field.bytes;
  return found;
}

int64_t Message::number(uint32_t number, int64_t otherwise) const {
  for (const Field& field : fields_)
    if (field.number == number && field.wire == 0) otherwise = static_cast<int64_t>(field.value);
  return otherwise;
}

std::vector<std::string> Message::texts(uint32_t number) const {
  std::vector<std::string> found;
  for (const Field& field : fields_)
    if (field.number == number && field.wire == 2) found.push_back(field.bytes);
  return found;
}

std::vector<int64_t> Message::numbers(uint32_t number) const {
  std::vector<int64_t> found;
  for (const Field& field : fields_) {
    if (field.number != number) continue;
    if (field.wire == 0) found.push_back(static_cast<int64_t>(field.value));
    for (size_t at = 0; field.wire == 2 && at < field.bytes.size();)
      found.push_back(static_cast<int64_t>(readVarint(field.bytes, at)));
  }
  return found;
}

bool Message::has(uint32_t number) const {
  for (const Field& field : fields_)
    if (field.number == number) return true;
  return false;
}

void Message::add(uint32_t number, const std::string& bytes) {
  fields_.push_back({number, 2, 0, bytes});
}

void Message::add(uint32_t number, int64_t value) {
  fields_.push_back({number, 0, static_cast<uint64_t>(value), {}});
}

void Message::drop(uint32_t number) {
  std::vector<Field> kept;
  for (Field& field : fields_)
    if (field.number != number) kept.push_back(std::move(field));
  fields_ = std::move(kept);
}

const char* typeName(int64_t type) {
  switch (type) {
    case kFloat32:
      return "float32";
    case kUint8:
      return "uint8";
    case kInt8:
      return "int8";
    case kInt32:
      return "int32";
    case kInt64:
      return "int64";
    case kBool:
      return "bool";
    case kFloat16:
      return "float16";
    case kBfloat16:
      return "bfloat16";
    case kFloat8:
      return "float8";
    default:
      return "unknown";
  }
}

const Message* Node::attribute(const std::string& wanted) const {
  for (const Message& one : attributes)
    if (one.text(1) == wanted) return &one;
  return nullptr;
}

int64_t Node::integer(const std::string& wanted, int64_t otherwise) const {
  const Message* found = attribute(wanted);
  if (found == nullptr) return otherwise;
  const std::vector<int64_t> all = found->numbers(kIntegers);
  return all.size() == 1 ? all[0] : found->number(kInteger, otherwise);
}

OnnxFile::OnnxFile(const std::string& bytes) : model_(bytes), graph_(model_.text(7)) {
  if (!model_.has(7) || !graph_.has(1))
    throw std::runtime_error("expected an ONNX model, found one without nodes");
  for (const std::string& one : graph_.texts(1)) nodes.push_back(readNode(one));
  for (const std::string& one : graph_.texts(5)) {
    const Message tensor(one);
    initializers.push_back({tensor.text(8), tensor.number(2), tensor});
  }
  for (const std::string& one : graph_.texts(11)) inputs.push_back(readValue(one));
  for (const std::string& one : graph_.texts(12)) outputs.push_back(readValue(one));
  for (const std::string& one : model_.texts(14)) {
    const Message entry(one);
    metadata[entry.text(1)] = entry.text(2);
  }
}

std::string OnnxFile::encoded() const {
  Message graph = graph_;
  for (const uint32_t number : {1U, 5U, 11U, 12U}) graph.drop(number);
  for (const Node& node : nodes) graph.add(1, writeNode(node));
  for (const Initializer& one : initializers) graph.add(5, one.tensor.encoded());
  for (const Value& one : inputs) graph.add(11, writeValue(one));
  for (const Value& one : outputs) graph.add(12, writeValue(one));
  Message model = model_;
  model.drop(7);
  model.drop(14);
  model.add(7, graph.encoded());
  for (const auto& [key, value] : metadata) {
    Message entry;
    entry.add(1, key);
    entry.add(2, value);
    model.add(14, entry.encoded());
  }
  return model.encoded();
}

std::map<std::string, int64_t> inferTypes(const OnnxFile& file) {
  static const std::set<std::string> conditions{
      "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor"};
  static const std::set<std::string> integers{"Shape", "ArgMax", "Size", "NonZero"};
  std::map<std::string, int64_t> types{{"", kUnknown}};
  for (const Value& one : file.inputs) types[one.name] = one.type;
  for (const Initializer& one : file.initializers) types[one.name] = one.type;
  for (const Node& node : file.nodes) {
    const auto of = [&](size_t input) {
      const auto found = input < node.inputs.size() ? types.find(node.inputs[input]) : types.end();
      return found == types.end() ? static_cast<int64_t>(kUnknown) : found->second;
    };
    int64_t type = of(0);
    if (node.op == "Cast") type = node.integer("to", kUnknown);
    if (node.op == "CastLike" || node.op == "Where" || node.op == "DequantizeLinear") type = of(1);
    if (node.op == "QuantizeLinear") {
      type = of(2) != kUnknown ? of(2) : node.integer("output_dtype", kUint8);
    }
    if (node.op == "Constant") {
      const Message* tensor = node.attribute("value");
      type = tensor != nullptr ? Message(tensor->text(kTensor)).number(2)
             : node.attribute("value_int") != nullptr || node.attribute("value_ints") != nullptr
                 ? static_cast<int64_t>(kInt64)
                 : static_cast<int64_t>(kFloat32);
    }
    if (node.op == "ConstantOfShape") {
      const Message* tensor = node.attribute("value");
      type = tensor == nullptr ? static_cast<int64_t>(kFloat32)
                               : Message(tensor->text(kTensor)).number(2);
    }
    if (conditions.count(node.op) > 0) type = kBool;
    if (integers.count(node.op) > 0) type = kInt64;
    if (node.op == "MatMulInteger") type = kInt32;
    if (type == kUnknown)
      throw std::runtime_error("node " + node.name + " (" + node.op + "): no rule for its type");
    for (size_t i = 0; i < node.outputs.size(); ++i) types[node.outputs[i]] = type;
    if (node.op == "TopK") types[node.outputs.at(1)] = kInt64;
    if (node.op == "instructionTopK") {
      types[node.outputs.at(1)] = kInt64;
      types[node.outputs.at(2)] = kFloat32;
    }
    if (node.op == "textGuidedPooling") types[node.outputs.at(1)] = kInt64;
    if (node.op == "swigluLevels") {
      types[node.outputs.at(0)] = kInt8;
      types[node.outputs.at(1)] = kFloat32;
    }
  }
  return types;
}

}  // namespace standin
