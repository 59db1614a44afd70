#include "runtime/blob.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/failure.h"

namespace semanticvla::runtime {

Blob mapFile(int descriptor) {
  const auto fail = [] {
    throw Failure(FailureKind::kPlan, std::string("mapping a plan: ") + std::strerror(errno));
  };
  struct stat info{};
  if (fstat(descriptor, &info) != 0) fail();
  const auto bytes = static_cast<size_t>(info.st_size);
  if (bytes == 0) return {};
  void* memory = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (memory == MAP_FAILED) fail();
  const std::shared_ptr<const void> owner(memory, [bytes](void* mapped) { munmap(mapped, bytes); });
  return {owner, static_cast<const uint8_t*>(memory), bytes};
}

}  // namespace semanticvla::runtime
