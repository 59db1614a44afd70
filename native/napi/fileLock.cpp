#include "napi/fileLock.h"

#include <sys/file.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace semanticvla::napi {

Napi::Value tryLock(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber()) throw Napi::TypeError::New(env, "expected a file descriptor");
  const int fd = info[0].As<Napi::Number>().Int32Value();
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return Napi::Boolean::New(env, false);
    throw Napi::Error::New(env, std::string("flock: ") + std::strerror(errno));
  }
  return Napi::Boolean::New(env, true);
}

}  // namespace semanticvla::napi
