#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace semanticvla::onnx {

/// ONNX Runtime's C interface, opened at run time from the library that the npm package carries (it
/// has no headers). A function is named by its place in `OrtApi` (onnxruntime_c_api.h): that table
/// only ever grows at its end.

struct OrtStatus;
struct OrtEnv;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtValue;
struct OrtMemoryInfo;
struct OrtAllocator;
struct OrtTensorTypeAndShapeInfo;

/// ONNXTensorElementDataType, those that cross to JS.
enum class ElementType : int { kFloat32 = 1, kUint8 = 2, kInt32 = 6, kInt64 = 7, kBool = 9 };

struct OrtFunctions {
  const char* (*getErrorMessage)(const OrtStatus*);
  OrtStatus* (*createEnv)(int logLevel, const char* id, OrtEnv**);
  OrtStatus* (*createSession)(const OrtEnv*, const char* file, const OrtSessionOptions*,
                              OrtSession**);
  OrtStatus* (*createSessionFromArray)(const OrtEnv*, const void*, size_t, const OrtSessionOptions*,
                                       OrtSession**);
  OrtStatus* (*run)(OrtSession*, const OrtRunOptions*, const char* const* inputNames,
                    const OrtValue* const* inputs, size_t inputCount,
                    const char* const* outputNames, size_t outputCount, OrtValue** outputs);
  OrtStatus* (*createSessionOptions)(OrtSessionOptions**);
  OrtStatus* (*enableProfiling)(OrtSessionOptions*, const char* prefix);
  OrtStatus* (*disableMemPattern)(OrtSessionOptions*);
  OrtStatus* (*disableCpuMemArena)(OrtSessionOptions*);
  OrtStatus* (*setSessionLogSeverityLevel)(OrtSessionOptions*, int);
  OrtStatus* (*setSessionGraphOptimizationLevel)(OrtSessionOptions*, int);
  OrtStatus* (*setIntraOpNumThreads)(OrtSessionOptions*, int);
  OrtStatus* (*sessionGetInputCount)(const OrtSession*, size_t*);
  OrtStatus* (*sessionGetOutputCount)(const OrtSession*, size_t*);
  OrtStatus* (*sessionGetInputName)(const OrtSession*, size_t, OrtAllocator*, char**);
  OrtStatus* (*sessionGetOutputName)(const OrtSession*, size_t, OrtAllocator*, char**);
  OrtStatus* (*createRunOptions)(OrtRunOptions**);
  OrtStatus* (*runOptionsSetTerminate)(OrtRunOptions*);
  OrtStatus* (*createTensorWithData)(const OrtMemoryInfo*, void*, size_t bytes, const int64_t* dims,
                                     size_t rank, int type, OrtValue**);
  OrtStatus* (*getTensorMutableData)(OrtValue*, void**);
  OrtStatus* (*getTensorElementType)(const OrtTensorTypeAndShapeInfo*, int*);
  OrtStatus* (*getDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t*);
  OrtStatus* (*getDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t*, size_t);
  OrtStatus* (*getTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);
  OrtStatus* (*createCpuMemoryInfo)(int allocatorType, int memoryType, OrtMemoryInfo**);
  OrtStatus* (*allocatorFree)(OrtAllocator*, void*);
  OrtStatus* (*getAllocatorWithDefaultOptions)(OrtAllocator**);
  OrtStatus* (*sessionEndProfiling)(OrtSession*, OrtAllocator*, char**);
  OrtStatus* (*addSessionConfigEntry)(OrtSessionOptions*, const char* key, const char* value);
  OrtStatus* (*addExternalInitializers)(OrtSessionOptions*, const char* const* names,
                                        const OrtValue* const* values, size_t count);
  OrtStatus* (*setLoadCancellationFlag)(OrtSessionOptions*, bool);
  void (*releaseEnv)(OrtEnv*);
  void (*releaseStatus)(OrtStatus*);
  void (*releaseMemoryInfo)(OrtMemoryInfo*);
  void (*releaseSession)(OrtSession*);
  void (*releaseValue)(OrtValue*);
  void (*releaseRunOptions)(OrtRunOptions*);
  void (*releaseTypeAndShape)(OrtTensorTypeAndShapeInfo*);
  void (*releaseSessionOptions)(OrtSessionOptions*);
};

/// The open library, for the life of the process: it has global state that outlives a session.
class OrtApi {
 public:
  /// @throws std::runtime_error the library does not open, or is older than 1.22
  explicit OrtApi(const std::string& library);

  const OrtFunctions& functions() const { return functions_; }
  /// @throws std::runtime_error with the runtime's own words
  void check(OrtStatus* status) const;

 private:
  OrtFunctions functions_{};
};

/// An object of the runtime that is released with its owner.
template <typename T>
class Owned {
 public:
  using Release = void (*)(T*);
  Owned() = default;
  Owned(T* object, Release release) : object_(object), release_(release) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Owned(Owned&& other) noexcept : object_(other.object_), release_(other.release_) {
    other.object_ = nullptr;
  }
  Owned& operator=(Owned&& other) noexcept {
    if (this == &other) return *this;
    reset();
    object_ = other.object_;
    release_ = other.release_;
    other.object_ = nullptr;
    return *this;
  }
  ~Owned() { reset(); }

  T* get() const { return object_; }
  void reset() {
    if (object_ != nullptr) release_(object_);
    object_ = nullptr;
  }

 private:
  T* object_ = nullptr;
  Release release_ = nullptr;
};

}  // namespace semanticvla::onnx
