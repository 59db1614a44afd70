#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "runtime/owned.h"

namespace semanticvla::runtime {

class Staging;

/// Room for the inputs of one call: pinned when a slot was free and large enough, else ordinary
/// memory.
class Staged {
 public:
  Staged() = default;
  ~Staged();
  Staged(Staged&& other) noexcept { swap(other); }
  Staged& operator=(Staged&& other) noexcept {
    swap(other);
    return *this;
  }
  uint8_t* data() { return pinned_ != nullptr ? pinned_ : ordinary_.data(); }
  size_t bytes() const { return bytes_; }
  /// Memory of its own, outside the pool.
  size_t ordinaryBytes() const { return ordinary_.size(); }
  bool isPinned() const { return pinned_ != nullptr; }

 private:
  friend class Staging;
  void swap(Staged& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(slot_, other.slot_);
    std::swap(pinned_, other.pinned_);
    std::swap(bytes_, other.bytes_);
    ordinary_.swap(other.ordinary_);
  }
  Staging* pool_ = nullptr;
  size_t slot_ = 0;
  uint8_t* pinned_ = nullptr;
  size_t bytes_ = 0;
  std::vector<uint8_t> ordinary_;
};

/// Pinned slots that any thread fills and the session's thread sends, so that the caller's bytes
/// are copied once. Must outlive what it hands out.
class Staging {
 public:
  /// From any thread; allocates no pinned memory.
  Staged take(size_t bytes);
  /// On the session's thread: slots of at least `bytes` from now on. A later call replaces those
  /// that are in use now.
  void reserve(Device& device, size_t slots, size_t bytes);
  /// On the session's thread, when no slot is in use.
  void clear();

 private:
  friend class Staged;
  struct Slot {
    PinnedBuffer memory;
    bool isTaken = false;
  };
  void giveBack(size_t slot);

  std::mutex mutex_;
  std::vector<Slot> slots_;
};

}  // namespace semanticvla::runtime
