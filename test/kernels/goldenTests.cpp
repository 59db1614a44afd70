// Pruner and aggregator on the tensors of the authors' code (test/golden, float32 run). Run from
// the repository's root.

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "device.h"
#include "kernels/instructionTopK.h"
#include "kernels/textGuidedPooling.h"

using namespace kernelTest;

namespace {

/// Tensors of one safetensors file, found by name in its header; the golden files have no nesting
/// that would need more.
class Golden {
 public:
  explicit Golden(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("expected " + path + " below the current folder, the repository's root");
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), sizeof(length));
    header_ = bytes_.substr(8, length);
  }

  template <typename T>
  std::vector<T> tensor(const std::string& name) const {
    const size_t at = header_.find("\"" + name + "\":");
    const size_t offsets = at == std::string::npos ? at : header_.find("\"data_offsets\":[", at);
    if (offsets == std::string::npos) fail("the golden has no tensor " + name);
    char* next = nullptr;
    const uint64_t begin = std::strtoull(header_.c_str() + offsets + 16, &next, 10);
    const uint64_t end = std::strtoull(next + 1, nullptr, 10);
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + 8 + header_.size() + begin, end - begin);
    return values;
  }

 private:
  std::string bytes_;
  std::string header_;
};

std::vector<int64_t> widened(const std::vector<int32_t>& values) {
  return {values.begin(), values.end()};
}

void compareImage(const std::string& file, const std::string& image, Count& count) {
  const Golden golden("test/golden/" + file);
  const std::vector<float> patches = golden.tensor<float>(image + ".siglip.final");
  const std::vector<float> text = golden.tensor<float>("siglip_text.projected");
  const std::vector<uint8_t> mask = golden.tensor<uint8_t>("siglip_text.mask");
  const std::vector<float> sampled = golden.tensor<float>(image + ".sampler.output");
  const std::vector<int64_t> kept = widened(golden.tensor<int32_t>(image + ".kept_patches"));
  const std::vector<int64_t> keptText = widened(golden.tensor<int32_t>(image + ".kept_text"));

  kernels::InstructionTopKParams p;
  p.images = 1;
  p.textTokens = static_cast<int32_t>(mask.size());
  p.width = static_cast<int32_t>(text.size()) / p.textTokens;
  p.patches = static_cast<int32_t>(patches.size()) / p.width;
  p.topk = static_cast<int32_t>(kept.size());
  p.workspaceBytes = kernels::instructionTopKWorkspace(1, p.patches);
  const size_t pooledValues = keptText.size() * p.width;
  const std::vector<float> pooledGolden(sampled.begin(), sampled.begin() + pooledValues);
  const std::vector<float> keptGolden(sampled.begin() + pooledValues, sampled.end());
  const Buffer patchRows(bytesOf(patches), 0), textRows(bytesOf(text), 0), maskBytes(mask, 0);
  // One for all launches: each leaves it as it found it.
  const Buffer tickets(std::vector<uint8_t>(4), 0);
  p.tickets = tickets.data<uint32_t>();
  ++count.cases;
  for (int variant = 0; variant < variantCount(); ++variant, count.launches += 2) {
    const Buffer keptRows(keptGolden.size() * 4, 0, 0xff), indices(kept.size() * 8, 0, 0xff);
    const Buffer similarity(static_cast<size_t>(p.patches) * p.textTokens * 4, 0, 0xff);
    const Buffer workspace(p.workspaceBytes, 0, 0xff);
    p.patchRows = patchRows.data();
    p.textRows = textRows.data();
    p.mask = maskBytes.data<uint8_t>();
    p.kept = keptRows.data();
    p.indices = indices.data<int64_t>();
    p.similarity = similarity.data<float>();
    p.workspace = workspace.data();
    selectVariant(variant);
    finish(kernels::launchInstructionTopK(p, nullptr));
    // The authors normalize rows first: a few roundings apart, under 1e-6 as the golden README says
    // of these files.
    expectNear(valuesOf<float>(similarity.download("similarity")),
               golden.tensor<float>(image + ".similarity"), 1e-6f, 0.0f, "similarity");
    expectSame(valuesOf<int64_t>(indices.download("indices")), kept, "kept patches");
    expectSame(valuesOf<float>(keptRows.download("kept")), keptGolden, "kept rows");

    kernels::TextGuidedPoolingParams q;
    q.images = 1;
    q.patches = p.patches;
    q.width = p.width;
    q.textTokens = p.textTokens;
    q.topk = static_cast<int32_t>(keptText.size());
    const Buffer pooled(pooledValues * 4, 0, 0xff), textIndices(keptText.size() * 8, 0, 0xff);
    q.patchRows = patchRows.data();
    q.similarity = similarity.data<float>();
    q.pooled = pooled.data();
    q.indices = textIndices.data<int64_t>();
    finish(kernels::launchTextGuidedPooling(q, nullptr));
    expectSame(valuesOf<int64_t>(textIndices.download("indices")), keptText, "kept text");
    // Values of up to 20 in sums of 256: float32 noise.
    expectNear(valuesOf<float>(pooled.download("pooled")), pooledGolden, 1e-5f, 0.0f, "pooled");
  }
}

}  // namespace

KERNEL_TEST(goldenSelection) {
  compareImage("libero-tiny/sample_o0_i0.safetensors", "image0", count);
  compareImage("libero-tiny/sample_o0_i0.safetensors", "image1", count);
  compareImage("libero-tiny/sample_o1_i1.safetensors", "image0", count);
  compareImage("aloha-tiny/sample_o0_i0.safetensors", "image0", count);
}
