#include "runtime/library.h"

#include <dlfcn.h>

#include <stdexcept>
#include <tuple>

namespace semanticvla::runtime {

namespace {

void* openShared(const std::string& path) {
  // Local: two flavours in one process must not see each other's symbols.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw std::runtime_error(path + ": " + (reason == nullptr ? "cannot be opened" : reason));
  }
  return handle;
}

template <typename Function>
Function symbol(void* handle, const std::string& path, const char* name) {
  void* address = dlsym(handle, name);
  if (address == nullptr)
    throw std::runtime_error(path + ": expected the symbol " + name + ", found none");
  return reinterpret_cast<Function>(address);
}

std::string familyOf(const Version& version) {
  switch (version.major) {
    case 0:
      return "standin";
    case 1:
      return "rtx1";
    case 10:
      return "trt10";
    case 11:
      return "trt11";
    default:
      return "";
  }
}

LibraryInfo inspect(void* handle, const std::string& path) {
  using GetPart = int32_t (*)();
  const auto part = [&](const char* name) { return symbol<GetPart>(handle, path, name)(); };
  LibraryInfo info;
  info.version = {part("getInferLibMajorVersion"), part("getInferLibMinorVersion"),
                  part("getInferLibPatchVersion"), part("getInferLibBuildVersion")};
  info.family = familyOf(info.version);
  return info;
}

std::string text(const Version& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
         std::to_string(version.patch);
}

}  // namespace

LibraryInfo inspectLibrary(const std::string& path) { return inspect(openShared(path), path); }

const Module& openModule(const std::string& path) {
  const Module* module = symbol<GetModule>(openShared(path), path, kModuleSymbol)();
  // The first field, so that it can be read whatever follows.
  if (module->abi != kModuleAbi) {
    throw std::runtime_error(path + ": expected module interface " + std::to_string(kModuleAbi) +
                             ", found " + std::to_string(module->abi) +
                             "; addon and modules come from different builds");
  }
  return *module;
}

OpenedTensorRt openTensorRt(const std::string& library, const std::string& parser,
                            const std::string& module) {
  void* handle = openShared(library);
  OpenedTensorRt opened;
  opened.library = inspect(handle, library);
  opened.module = &openModule(module);
  if (opened.library.family != opened.module->family) {
    throw std::runtime_error(module + ": expected a module for " + library +
                             ", which is TensorRT " + text(opened.library.version) +
                             ", found one for " + opened.module->family);
  }
  const Version& found = opened.library.version;
  const Version& oldest = opened.module->headers;
  if (std::tie(found.major, found.minor) < std::tie(oldest.major, oldest.minor)) {
    throw std::runtime_error(library + ": expected version " + text(oldest) + " or newer, which " +
                             module + " was compiled against, found " + text(found));
  }
  using Create = void* (*)(void*, int32_t);
  opened.entryPoints.createBuilder = nullptr;
  opened.entryPoints.createRuntime = symbol<Create>(handle, library, "createInferRuntime_INTERNAL");
  if (!parser.empty()) {
    opened.entryPoints.createBuilder =
        symbol<Create>(handle, library, "createInferBuilder_INTERNAL");
    using CreateParser = void* (*)(void*, void*, int);
    opened.entryPoints.createParser =
        symbol<CreateParser>(openShared(parser), parser, "createNvOnnxParser_INTERNAL");
  }
  return opened;
}

}  // namespace semanticvla::runtime
