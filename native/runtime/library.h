#pragma once

#include <string>

#include "runtime/module.h"

namespace semanticvla::runtime {

/// A TensorRT library and the module of ours that fits it, opened at run time: the addon links
/// neither. lib/engine/findTensorRt.ts searches and words the errors; these functions open what
/// they are given and throw with the dynamic loader's reason. Nothing is ever closed: TensorRT
/// keeps threads and registries until the process ends.

struct LibraryInfo {
  Version version;
  /// Module family that fits: `trt10`, `trt11`, `rtx1`, or `standin`, the tests' own library, which
  /// computes on the CPU and is its own module; empty when none does.
  std::string family;
};

/// Version and family of the library in `path` (libnvinfer.so.10, libtensorrt_rtx.so.1).
LibraryInfo inspectLibrary(const std::string& path);

/// Opens a module and checks that it belongs to this build of the addon.
const Module& openModule(const std::string& path);

struct OpenedTensorRt {
  LibraryInfo library;
  const Module* module = nullptr;
  EntryPoints entryPoints;
};

/// Library and module, of one family, the library not older than the headers of the module.
/// `parser` (the ONNX parser's library) is only opened when an engine is to be built; empty
/// otherwise.
OpenedTensorRt openTensorRt(const std::string& library, const std::string& parser,
                            const std::string& module);

}  // namespace semanticvla::runtime
