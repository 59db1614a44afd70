#include "kernelEngine.h"

#include <cuda_runtime.h>

#include "kernels/film.h"
#include "kernels/instructionTopK.h"
#include "kernels/textGuidedPooling.h"

namespace harness {
namespace {

namespace kernels = semanticvla::kernels;

void require(int status, const char* what) {
  if (status == 0) return;
  throw Failure(FailureKind::kDevice, std::string(what) + ": " + std::to_string(status));
}

constexpr size_t kModulatedBytes = size_t{kImages} * kPatches * kWidth * 2;
constexpr size_t kScoreBytes = size_t{kImages} * kPatches * 4;

class KernelContext final : public Context {
 public:
  KernelContext(Device& device, bool isStep, const std::vector<TensorInfo>& tensors)
      : device_(device), isStep_(isStep), tensors_(tensors) {
    // by the CUDA runtime, as plugins do it, in the context that the session made with the driver
    const size_t bytes = kernels::kMaxImages * sizeof(uint32_t);
    require(cudaMalloc(reinterpret_cast<void**>(&tickets_), bytes), "cudaMalloc");
    require(cudaMemset(tickets_, 0, bytes), "cudaMemset");
    require(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
  ~KernelContext() override { cudaFree(tickets_); }

  void setInputDims(const std::map<std::string, Dims>& dims) override { given_ = dims; }
  Dims dims(const std::string& name) const override {
    if (name == "tail" || name == "echo") return {rows(), kRow};
    for (const TensorInfo& tensor : tensors_)
      if (tensor.name == name) return tensor.dims;
    return {};
  }
  size_t scratchBytes() override {
    return kModulatedBytes + kScoreBytes + 256 + (size_t{1} << 20) * size_t(rows());
  }
  void setScratch(void* memory, size_t bytes) override {
    if (bytes < scratchBytes()) throw Failure(FailureKind::kPlan, "scratch memory is too small");
    scratch_ = static_cast<uint8_t*>(memory);
  }
  void bind(const std::string& tensor, void* memory) override {
    if (reinterpret_cast<uintptr_t>(memory) % 256 != 0)
      throw Failure(FailureKind::kPlan, tensor + " is not aligned to 256 bytes");
    bound_[tensor] = memory;
  }
  void enqueue(Stream stream) override { isStep_ ? step(stream) : prepare(stream); }
  void watchLayers() override {}
  std::vector<LayerTime> takeLayers() override { return {}; }

 private:
  int64_t rows() const { return given_.at(isStep_ ? "tail" : "ids")[0]; }

  void prepare(Stream stream) {
    for (int64_t i = 0; i < rows(); ++i)
      device_.copyOnDevice(static_cast<float*>(bound_.at("tail")) + i * kRow,
                           static_cast<float*>(bound_.at("embed")) + i % kRows * kRow, kRow * 4,
                           stream);
  }

  void step(Stream stream) {
    kernels::FilmParams film;
    film.type = kernels::DataType::kBfloat16;
    film.rows = kImages * kPatches;
    film.width = kWidth;
    film.tokens = bound_.at("patches");
    film.gamma = bound_.at("gamma");
    film.beta = bound_.at("beta");
    film.modulated = scratch_;
    require(kernels::launchFilm(film, stream), "film");

    kernels::InstructionTopKParams topk;
    topk.type = film.type;
    topk.images = kImages;
    topk.patches = kPatches;
    topk.width = kWidth;
    topk.textTokens = kTextTokens;
    topk.topk = kKept;
    topk.patchRows = scratch_;
    topk.textRows = bound_.at("text");
    topk.mask = static_cast<uint8_t*>(bound_.at("mask"));
    topk.kept = bound_.at("kept");
    topk.indices = static_cast<int64_t*>(bound_.at("indices"));
    topk.similarity = static_cast<float*>(bound_.at("similarity"));
    topk.workspace = scratch_ + kModulatedBytes;
    topk.workspaceBytes = kScoreBytes;
    topk.tickets = tickets_;
    require(kernels::launchInstructionTopK(topk, stream), "instructionTopK");

    kernels::TextGuidedPoolingParams pooling;
    pooling.type = film.type;
    pooling.images = kImages;
    pooling.patches = kPatches;
    pooling.width = kWidth;
    pooling.textTokens = kTextTokens;
    pooling.topk = kKeptText;
    pooling.temperature = 0.07f;
    pooling.patchRows = scratch_;
    pooling.similarity = topk.similarity;
    pooling.pooled = bound_.at("pooled");
    pooling.indices = static_cast<int64_t*>(bound_.at("textIndices"));
    require(kernels::launchTextGuidedPooling(pooling, stream), "textGuidedPooling");

    device_.copyOnDevice(bound_.at("echo"), bound_.at("tail"), size_t(rows()) * kRow * 4, stream);
    device_.copyOnDevice(bound_.at("seen"), bound_.at("images"),
                         size_t{kImages} * kSide * kSide * 3, stream);
  }

  Device& device_;
  bool isStep_;
  const std::vector<TensorInfo>& tensors_;
  std::map<std::string, Dims> given_;
  std::map<std::string, void*> bound_;
  uint8_t* scratch_ = nullptr;
  uint32_t* tickets_ = nullptr;
};

class KernelEngine final : public Engine {
 public:
  KernelEngine(Device& device, bool isStep, size_t bulk) : device_(device), isStep_(isStep) {
    if (!isStep) {
      tensors_ = {{"ids", "int64", {-1}, true},
                  {"embed", "float32", {kRows, kRow}, true},
                  {"tail", "float32", {-1, kRow}, false}};
      return;
    }
    tensors_ = {{"images", "uint8", {kImages, kSide, kSide, 3}, true},
                {"mask", "bool", {kTextTokens}, true},
                {"tail", "float32", {-1, kRow}, true},
                {"patches", "bfloat16", {kImages, kPatches, kWidth}, true},
                {"text", "bfloat16", {kTextTokens, kWidth}, true},
                {"gamma", "bfloat16", {kWidth}, true},
                {"beta", "bfloat16", {kWidth}, true},
                {"kept", "bfloat16", {kImages, kKept, kWidth}, false},
                {"indices", "int64", {kImages, kKept}, false},
                {"similarity", "float32", {kImages, kPatches, kTextTokens}, false},
                {"pooled", "bfloat16", {kImages, kKeptText, kWidth}, false},
                {"textIndices", "int64", {kImages, kKeptText}, false},
                {"echo", "float32", {-1, kRow}, false},
                {"seen", "uint8", {kImages, kSide, kSide, 3}, false}};
    if (bulk > 0) tensors_.push_back({"bulk", "bfloat16", {int64_t(bulk)}, true});
  }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::unique_ptr<Context> createContext(const std::map<std::string, Dims>&, Stream) override {
    return std::make_unique<KernelContext>(device_, isStep_, tensors_);
  }
  std::string describeLayers() override { return "{}"; }

 private:
  Device& device_;
  bool isStep_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

std::unique_ptr<Engine> makeKernelEngine(Device& device, bool isStep, size_t bulk) {
  return std::make_unique<KernelEngine>(device, isStep, bulk);
}

}  // namespace harness
