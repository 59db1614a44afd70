#include "support/regularFile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace semanticvla {

RegularFile::RegularFile(const std::string& path)
    : path_(path), fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (fd_ < 0) fail(std::strerror(errno));
  struct stat info{};
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd_);
    fail("no regular file");
  }
}

RegularFile::~RegularFile() { close(fd_); }

void RegularFile::read(uint8_t* target, size_t bytes, uint64_t offset) const {
  while (bytes > 0) {
    const ssize_t count = pread(fd_, target, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(std::strerror(errno));
    if (count == 0) {
      fail("its end before byte " + std::to_string(offset + bytes) +
           "; it changed since it was opened");
    }
    target += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<size_t>(count);
  }
}

void RegularFile::fail(const std::string& found) const {
  throw std::runtime_error(path_ + ": expected to read weights, found " + found);
}

}  // namespace semanticvla
