#include "executable.h"

#include <set>

namespace standin {

namespace {

bool isHalf(int64_t type) { return type == kBfloat16 || type == kFloat16; }

/// Their results are numbers that were there before.
const std::set<std::string> kMoves{"Reshape", "Transpose", "Slice",     "Gather", "GatherND",
                                   "Split",   "Squeeze",   "Unsqueeze", "Concat", "Identity",
                                   "Expand",  "Where",     "Tile",      "Relu",   "Neg",
                                   "Max",     "Min",       "Clip"};

class Rewriter {
 public:
  explicit Rewriter(const OnnxFile& file) : types_(inferTypes(file)), made_(file) {
    made_.nodes.clear();
    for (const Value& one : file.inputs) widenSource(one.name, one.type);
    for (const Initializer& one : file.initializers) widenSource(one.name, one.type);
    for (const Node& node : file.nodes) rewrite(node);
    for (const Value& one : file.outputs)
      if (isHalf(one.type)) cast(wide(one.name), one.name, one.type);
  }
  OnnxFile take() { return std::move(made_); }

 private:
  int64_t typeOf(const std::string& name) const { return types_.at(name); }
  /// The value in float32 where it is of a half type.
  std::string wide(const std::string& name) const {
    return isHalf(typeOf(name)) ? name + "|float32" : name;
  }
  void cast(const std::string& from, const std::string& to, int64_t type) {
    Message attribute;
    attribute.add(1, std::string("to"));
    attribute.add(3, type);
    attribute.add(20, static_cast<int64_t>(2));
    made_.nodes.push_back({to + "|cast", "Cast", "", {from}, {to}, {attribute}});
  }
  void widenSource(const std::string& name, int64_t type) {
    sources_.insert(name);
    if (isHalf(type)) cast(name, wide(name), kFloat32);
  }

  void rewrite(const Node& node) {
    Node copy = node;
    if (node.domain == kOwnDomain) return rewriteOwn(copy);
    // only the rows that are taken are widened, not the table
    if (node.op == "Gather" && isHalf(typeOf(node.inputs[0])) && sources_.count(node.inputs[0])) {
      copy.outputs = {node.outputs[0] + "|half"};
      made_.nodes.push_back(copy);
      return cast(copy.outputs[0], wide(node.outputs[0]), kFloat32);
    }
    for (std::string& name : copy.inputs) name = wide(name);
    std::vector<std::string> rounded;
    for (std::string& name : copy.outputs) {
      if (name.empty() || !isHalf(typeOf(name))) continue;
      if (kMoves.count(node.op) > 0) {
        name = wide(name);
        continue;
      }
      rounded.push_back(name);
      // a Cast to the type is the rounding itself
      name += node.op == "Cast" ? "|half" : "|exact";
    }
    made_.nodes.push_back(copy);
    for (const std::string& name : rounded) {
      if (node.op != "Cast") cast(name + "|exact", name + "|half", typeOf(name));
      cast(name + "|half", wide(name), kFloat32);
    }
  }

  void rewriteOwn(Node& node) {
    const int64_t type = typeOf(node.inputs.at(0));
    node.op += std::string("_") + typeName(type);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!isHalf(typeOf(node.inputs[i]))) continue;
      const std::string narrow = node.name + "|input" + std::to_string(i);
      cast(wide(node.inputs[i]), narrow, typeOf(node.inputs[i]));
      node.inputs[i] = narrow;
    }
    const std::vector<std::string> outputs = node.outputs;
    for (std::string& name : node.outputs)
      if (isHalf(typeOf(name))) name += "|half";
    // [k] as one number, which an operator of ours can ask for
    for (Message& attribute : node.attributes) {
      if (attribute.text(1) != "topk") continue;
      const int64_t k = node.integer("topk", 0);
      attribute = Message();
      attribute.add(1, std::string("topk"));
      attribute.add(3, k);
      attribute.add(20, static_cast<int64_t>(2));
    }
    made_.nodes.push_back(node);
    for (size_t i = 0; i < outputs.size(); ++i)
      if (isHalf(typeOf(outputs[i]))) cast(node.outputs[i], wide(outputs[i]), kFloat32);
  }

  std::map<std::string, int64_t> types_;
  std::set<std::string> sources_;
  OnnxFile made_;
};

}  // namespace

OnnxFile executable(const OnnxFile& file) { return Rewriter(file).take(); }

}  // namespace standin
