#include "runtime/staging.h"

namespace semanticvla::runtime {

Staged::~Staged() {
  if (pool_ != nullptr) pool_->giveBack(slot_);
}

Staged Staging::take(size_t bytes) {
  Staged staged;
  staged.bytes_ = bytes;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      if (slot.isTaken || slot.memory.bytes() < bytes) continue;
      slot.isTaken = true;
      staged.pool_ = this;
      staged.slot_ = i;
      staged.pinned_ = slot.memory.data();
      return staged;
    }
  }
  staged.ordinary_.resize(bytes);
  return staged;
}

void Staging::giveBack(size_t slot) {
  const std::lock_guard<std::mutex> lock(mutex_);
  slots_[slot].isTaken = false;
}

void Staging::reserve(Device& device, size_t slots, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (slots_.size() < slots) slots_.resize(slots);
  for (Slot& slot : slots_) {
    if (!slot.isTaken && slot.memory.bytes() < bytes) slot.memory = PinnedBuffer(device, bytes);
  }
}

void Staging::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Slot& slot : slots_) slot.memory = PinnedBuffer();
}

}  // namespace semanticvla::runtime
