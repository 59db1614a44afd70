#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/blob.h"
#include "runtime/engine.h"
#include "runtime/imagePipeline.h"

namespace semanticvla::runtime {

/// What the addon and a TensorRT module (semanticvla_trt10.so, semanticvla_trt11.so,
/// semanticvla_rtx1.so) say to each other. No TensorRT header in here: the addon is compiled
/// without any. Both sides are compiled by one build from the same sources, which `kModuleAbi`
/// guards.

enum class Severity { kInternalError = 0, kError = 1, kWarning = 2, kInfo = 3, kVerbose = 4 };
using Log = std::function<void(Severity, const char*)>;

struct Version {
  int major = 0;
  int minor = 0;
  int patch = 0;
  int build = 0;
};

/// TensorRT's C entry points, looked up in the opened libraries; everything else is a virtual call.
/// Those of the parser are null unless an engine is to be built.
struct EntryPoints {
  void* (*createBuilder)(void* logger, int32_t version) = nullptr;
  void* (*createRuntime)(void* logger, int32_t version) = nullptr;
  void* (*createParser)(void* network, void* logger, int version) = nullptr;
};

/// Smallest, most usual and largest size of one dynamic input.
struct InputRange {
  std::string name;
  std::vector<int64_t> min;
  std::vector<int64_t> opt;
  std::vector<int64_t> max;
};

/// Several optimization profiles: a plan for each that is chosen when it runs.
using Profile = std::vector<InputRange>;

struct BuildProgress {
  std::string phase;
  /// Empty for an outermost phase.
  std::string parent;
  int32_t step = 0;
  int32_t steps = 0;
};

struct BuildRequest {
  std::vector<uint8_t> model;
  /// Where external weights are looked for; empty when the model has none.
  std::string modelPath;
  std::vector<Profile> profiles;
  /// Compute capabilities as 10 * major + minor (89); empty: the device at hand. Only TensorRT-RTX
  /// builds for others.
  std::vector<int> targets;
  /// 0..5, or -1 for TensorRT's default.
  int optimizationLevel = -1;
  /// Bytes of scratch memory that a layer may use; 0: TensorRT's default, the device's memory.
  uint64_t workspaceBytes = 0;
  /// What earlier builds on this device measured; empty: nothing. TensorRT-RTX measures at run
  /// time.
  std::vector<uint8_t> timingCache;
  /// Nodes of the model that must have become plugins, by type.
  std::map<std::string, int> plugins;
  Log log;
  /// Called on the building thread; false cancels.
  std::function<bool(const BuildProgress&)> progress;
};

struct BuildResult {
  Blob plan;
  /// The one of the request and what this build measured.
  std::vector<uint8_t> timingCache;
  /// Why the one of the request was not used; empty: it was, or there was none.
  std::string timingCacheRefused;
  /// TensorRT's own list of the compiled layers, the verbose message that begins with "Layers:".
  /// One per target.
  std::vector<std::string> layers;
  std::vector<TensorInfo> tensors;
  /// Layers of the network before it is compiled, and how many of them are ours, by type.
  int networkLayers = 0;
  std::map<std::string, int> plugins;
  bool isCancelled = false;
};

/// The one symbol of a module.
struct Module {
  uint32_t abi;
  /// `trt10`, `trt11`, `rtx1` or `standin`.
  const char* family;
  /// Of the headers it was compiled against: the oldest library that it works with.
  Version headers;
  /// false: built without nvcc; engines can be built and not run.
  bool hasKernels;
  /// Throws std::exception with what TensorRT said.
  BuildResult (*build)(const EntryPoints& entryPoints, const BuildRequest& request);
  /// What two builds measured, as one timing cache. Null where there is none (TensorRT-RTX). Throws
  /// std::exception.
  std::vector<uint8_t> (*combineTimingCaches)(const EntryPoints& entryPoints,
                                              const std::vector<uint8_t>& first,
                                              const std::vector<uint8_t>& second);
  /// The GPUs of this machine. Throws Failure.
  std::vector<DeviceInfo> (*listDevices)();
  std::unique_ptr<Device> (*openDevice)(int index);
  /// Deserializes a plan whose origin was verified, and so that of `kernels` (Engine::kernels).
  std::unique_ptr<Engine> (*loadEngine)(const EntryPoints& entryPoints, Device& device,
                                        const Blob& plan, const std::vector<uint8_t>& kernels);
  /// Null without kernels.
  std::unique_ptr<ImagePipeline> (*imagePipeline)(const ImagePipelineRequest& request);
};

/// To be raised when a change to this file keeps every size.
constexpr uint32_t kModuleRevision = 5;
/// Keeps modules and addons of different builds apart: most changes show in the sizes.
constexpr uint32_t kModuleAbi = (kModuleRevision << 24) + sizeof(Module) +
                                (sizeof(EntryPoints) << 4) + (sizeof(BuildRequest) << 8) +
                                (sizeof(BuildResult) << 14);

constexpr const char* kModuleSymbol = "semanticvlaTensorRtModule";
using GetModule = const Module* (*)();

}  // namespace semanticvla::runtime
