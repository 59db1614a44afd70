#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace standin {

/// An ONNX file as the stand-in needs it: read, changed, written again. Protocol buffers without
/// their schema: a message is a list of numbered fields, and what is not looked at stays as it is.

struct Field {
  uint32_t number = 0;
  /// 0: `value`, 2: `bytes`, 1 and 5: `bytes` of fixed size.
  uint32_t wire = 0;
  uint64_t value = 0;
  std::string bytes;
};

class Message {
 public:
  Message() = default;
  /// @throws std::runtime_error for what is no message
  explicit Message(const std::string& bytes);
  std::string encoded() const;

  std::string text(uint32_t number) const;
  int64_t number(uint32_t number, int64_t otherwise = 0) const;
  std::vector<std::string> texts(uint32_t number) const;
  /// Repeated integers, packed or not.
  std::vector<int64_t> numbers(uint32_t number) const;
  bool has(uint32_t number) const;

  void add(uint32_t number, const std::string& bytes);
  void add(uint32_t number, int64_t value);
  void drop(uint32_t number);

 private:
  std::vector<Field> fields_;
};

/// TensorProto.DataType.
enum Type : int64_t {
  kUnknown = 0,
  kFloat32 = 1,
  kUint8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kFloat16 = 10,
  kBfloat16 = 16,
  kFloat8 = 17,
};

/// As lib/graph/onnxModel.ts spells it.
const char* typeName(int64_t type);

struct Dimension {
  /// -1: `symbol`.
  int64_t size = -1;
  std::string symbol;
};

struct Value {
  std::string name;
  int64_t type = kUnknown;
  std::vector<Dimension> dims;
};

struct Node {
  std::string name, op, domain;
  std::vector<std::string> inputs, outputs;
  std::vector<Message> attributes;

  /// @returns null where there is none of this name
  const Message* attribute(const std::string& wanted) const;
  /// The integer of an attribute, or the only one of a list.
  int64_t integer(const std::string& wanted, int64_t otherwise) const;
};

struct Initializer {
  std::string name;
  int64_t type = kUnknown;
  Message tensor;
};

class OnnxFile {
 public:
  /// @throws std::runtime_error
  explicit OnnxFile(const std::string& bytes);
  std::string encoded() const;

  std::vector<Node> nodes;
  std::vector<Initializer> initializers;
  std::vector<Value> inputs, outputs;
  std::map<std::string, std::string> metadata;

 private:
  Message model_;
  Message graph_;
};

/// The type of every value, by the rules of the operators in lib/graph. @throws std::runtime_error
/// for a value whose type it cannot tell
std::map<std::string, int64_t> inferTypes(const OnnxFile& file);

}  // namespace standin
