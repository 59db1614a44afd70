#include <cstdint>

/// What of a TensorRT library the loader asks for before it calls anything. FAKE_MAJOR and
/// FAKE_MINOR: the version it says.

extern "C" {
int32_t getInferLibMajorVersion() { return FAKE_MAJOR; }
int32_t getInferLibMinorVersion() { return FAKE_MINOR; }
int32_t getInferLibPatchVersion() { return 0; }
int32_t getInferLibBuildVersion() { return 7; }
void* createInferBuilder_INTERNAL(void*, int32_t) { return nullptr; }
void* createInferRuntime_INTERNAL(void*, int32_t) { return nullptr; }
}
