#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace semanticvla {

/// A regular file, open for reading; a FIFO or a device is refused, and nothing waits for one.
class RegularFile {
 public:
  /// @throws std::runtime_error with the path and what was found
  explicit RegularFile(const std::string& path);
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  /// Exactly that many bytes. @throws std::runtime_error also when the file ends early
  void read(uint8_t* target, size_t bytes, uint64_t offset) const;

 private:
  [[noreturn]] void fail(const std::string& found) const;

  std::string path_;
  int fd_;
};

}  // namespace semanticvla
