#include "runtime/kernelPipeline.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <string>

#include "kernels/preprocessImages.h"
#include "kernels/preprocessTables.h"

namespace semanticvla::runtime {

namespace {

kernels::PreprocessImagesParams paramsOf(const ImagePipelineRequest& request) {
  if (request.frames.size() > static_cast<size_t>(kernels::kMaxFrames)) {
    throw Failure(FailureKind::kRequest, "frames: expected at most " +
                                             std::to_string(kernels::kMaxFrames) + ", found " +
                                             std::to_string(request.frames.size()));
  }
  for (const FrameSize& frame : request.frames) {
    if (std::min(frame.width, frame.height) >= 1 &&
        std::max(frame.width, frame.height) <= kernels::kMaxFrameSide)
      continue;
    throw Failure(FailureKind::kRequest, "frames: expected sides of 1 to " +
                                             std::to_string(kernels::kMaxFrameSide) + ", found " +
                                             std::to_string(frame.width) + " x " +
                                             std::to_string(frame.height));
  }
  kernels::PreprocessImagesParams params;
  params.images = static_cast<int32_t>(request.frames.size());
  params.jpeg = request.jpeg;
  params.centerCrop = request.centerCrop;
  if (request.imageSide < 1 || request.imageSide > kernels::kMaxImageSide) {
    throw Failure(FailureKind::kRequest,
                  "frames: expected images of 1 to " + std::to_string(kernels::kMaxImageSide) +
                      " px a side, found " + std::to_string(request.imageSide));
  }
  params.imageSide = request.imageSide;
  for (size_t i = 0; i < request.frames.size(); ++i) {
    params.frames[i].width = request.frames[i].width;
    params.frames[i].height = request.frames[i].height;
    params.frames[i].bgr = request.frames[i].bgr;
  }
  return params;
}

class KernelPipeline final : public ImagePipeline {
 public:
  explicit KernelPipeline(const ImagePipelineRequest& request)
      : params_(paramsOf(request)), tables_(params_) {}

  const std::vector<uint8_t>& tables() const override { return tables_.bytes(); }
  size_t workspaceBytes() const override { return kernels::preprocessImagesWorkspace(params_); }
  size_t imageBytes() const override {
    const size_t side = static_cast<size_t>(params_.imageSide);
    return static_cast<size_t>(params_.images) * side * side * 3;
  }

  void enqueue(const std::vector<const uint8_t*>& frames, const uint8_t* tables, uint8_t* workspace,
               uint8_t* images, Stream stream) override {
    kernels::PreprocessImagesParams params = params_;
    for (size_t i = 0; i < frames.size(); ++i) params.frames[i].pixels = frames[i];
    tables_.attach(params, tables);
    params.cropped = images;
    params.workspace = workspace;
    params.workspaceBytes = workspaceBytes();
    const kernels::Status status = kernels::launchPreprocessImages(params, stream);
    if (status == kernels::kOk) return;
    const bool isRefusal = status < 0;
    throw Failure(isRefusal ? FailureKind::kRequest : FailureKind::kDevice,
                  "preprocessing frames: the kernels answered " + std::to_string(status) + " (" +
                      (isRefusal ? kernels::statusText(status)
                                 : cudaGetErrorString(static_cast<cudaError_t>(status))) +
                      ")");
  }

 private:
  kernels::PreprocessImagesParams params_;
  kernels::PreprocessTables tables_;
};

}  // namespace

std::unique_ptr<ImagePipeline> makeKernelPipeline(const ImagePipelineRequest& request) {
  return std::make_unique<KernelPipeline>(request);
}

}  // namespace semanticvla::runtime
