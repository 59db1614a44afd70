#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fakeDevice.h"
#include "runtime/blob.h"
#include "runtime/engine.h"

namespace fake {

/// A plan in plain text, one tensor a line after `fake 1`:
///
///     in prompt_ids int64 -1
///     in weight bfloat16 4,8
///     out tail bfloat16 prompt_ids.0+22,8
///
/// -1 is dynamic; `prompt_ids.0+22` is the first size of that input and 22. A line `scratch 0`: the
/// engine asks for no scratch memory, and as TensorRT does, refuses to run without any.
struct FakePlan {
  struct Tensor {
    std::string name;
    std::string type;
    bool isInput = false;
    std::vector<std::string> sizes;
  };
  std::vector<Tensor> tensors;
  bool asksForScratch = true;

  /// Throws Failure kPlan.
  static FakePlan parse(const Blob& text);
  Dims dims(const Tensor& tensor, const std::map<std::string, Dims>& given) const;
};

struct Value {
  Dims dims;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// What the fake engine computes: every output depends on every byte of every input, by name.
uint64_t digestOf(const std::map<std::string, Value>& inputs);
std::vector<uint8_t> fakeOutput(const FakePlan::Tensor& output, const Dims& dims, uint64_t digest);

/// Compiles "kernels" for every new set of sizes, and keeps them; given ones begin with `fake
/// kernels`.
std::unique_ptr<Engine> loadFakeEngine(FakeDevice& device, const Blob& plan,
                                       const std::vector<uint8_t>& kernels);

}  // namespace fake
