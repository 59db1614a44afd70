#include <nvtx3/nvToolsExt.h>

#include <cstdio>

/// What a profiler is to NVTX: a library that NVTX_INJECTION64_PATH names. Prints every range that
/// reaches it.

namespace {

int push(const char* name) {
  std::printf("push %s\n", name);
  return 0;
}
int pop() {
  std::printf("pop\n");
  return 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t getTable) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(getTable(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (callbacks == nullptr ||
      !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size))
    return 0;
  *table[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *table[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}
