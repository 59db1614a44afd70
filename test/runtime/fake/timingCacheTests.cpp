#include <NvInfer.h>

#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "runtime/timingCache.h"

/// The timing cache over TensorRT's interfaces without TensorRT: a builder config of which only
/// that part answers. The others' stubs are made from the header (timingCache.test.ts), which
/// differs from version to version.

namespace {

using semanticvla::runtime::BuildLog;
using semanticvla::runtime::TimingCache;
using Bytes = std::vector<uint8_t>;

int failures = 0;
/// Timing caches and host memories that live.
int live = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  ++failures;
  std::printf("expected %s\n", what);
}

Bytes bytesOf(const std::string& text) { return {text.begin(), text.end()}; }
std::string textOf(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

class Memory final : public nvinfer1::IHostMemory, nvinfer1::apiv::VHostMemory {
 public:
  explicit Memory(std::string text) : text_(std::move(text)) {
    mImpl = this;
    ++live;
  }
  ~Memory() noexcept override { --live; }
  void* data() const noexcept override { return const_cast<char*>(text_.data()); }
  std::size_t size() const noexcept override { return text_.size(); }
  nvinfer1::DataType type() const noexcept override { return nvinfer1::DataType::kINT8; }

 private:
  std::string text_;
};

using namespace nvinfer1;
using namespace nvinfer1::apiv;

struct VConfigStubs : nvinfer1::apiv::VBuilderConfig {
#include "builderConfigStubs.h"
};
struct VTimingStubs : nvinfer1::apiv::VTimingCache {
#include "timingCacheStubs.h"
};

/// Text: `device;entry;entry;`.
class Cache final : public nvinfer1::ITimingCache, VTimingStubs {
 public:
  explicit Cache(const std::string& text) {
    mImpl = this;
    ++live;
    size_t at = text.find(';');
    device = text.substr(0, at);
    for (size_t end; at != std::string::npos && (end = text.find(';', at + 1)) != std::string::npos;
         at = end) {
      entries.insert(text.substr(at + 1, end - at - 1));
    }
  }
  ~Cache() noexcept override { --live; }
  nvinfer1::IHostMemory* serialize() const noexcept override {
    std::string text = device + ";";
    for (const std::string& entry : entries) text += entry + ";";
    return new Memory(text);
  }
  bool combine(const nvinfer1::ITimingCache& other, bool) noexcept override {
    const auto& more = static_cast<const Cache&>(other);
    if (more.device != device) return false;
    entries.insert(more.entries.begin(), more.entries.end());
    return true;
  }
  std::string device;
  std::set<std::string> entries;
};

class Config final : public nvinfer1::IBuilderConfig, VConfigStubs {
 public:
  explicit Config(BuildLog& log) : log_(log) { mImpl = this; }
  nvinfer1::ITimingCache* createTimingCache(const void* blob,
                                            std::size_t size) const noexcept override {
    const std::string text(static_cast<const char*>(blob), size);
    if (size == 0) return new Cache("here;");
    if (text.find(';') != std::string::npos) return new Cache(text);
    log_.log(nvinfer1::ILogger::Severity::kERROR, "not a timing cache");
    return nullptr;
  }
  bool setTimingCache(const nvinfer1::ITimingCache& cache, bool ignoreMismatch) noexcept override {
    auto& given = const_cast<Cache&>(static_cast<const Cache&>(cache));
    if (ignoreMismatch || given.device != "here") {
      log_.log(nvinfer1::ILogger::Severity::kERROR, "of another device");
      return false;
    }
    attached = &given;
    return true;
  }
  Cache* attached = nullptr;

 private:
  BuildLog& log_;
};

void attaches(const std::string& given, const std::string& kept, const std::string& refused) {
  const semanticvla::runtime::Log silent;
  BuildLog log(silent);
  TimingCache timings;
  {
    Config config(log);
    timings.attach(config, bytesOf(given), log);
    // what a build does
    config.attached->entries.insert("new");
  }
  expect(textOf(timings.bytes()) == kept,
         ("what is kept of '" + given + "' to be '" + kept + "'").c_str());
  expect(timings.refused() == refused,
         ("the reason '" + refused + "', found '" + timings.refused() + "'").c_str());
  expect(log.errors().empty(), "no error left for a build that goes well");
}

void combines() {
  const semanticvla::runtime::Log silent;
  BuildLog log(silent);
  Config config(log);
  const auto combined = [&](const char* first, const char* second) {
    try {
      return textOf(TimingCache::combine(config, bytesOf(first), bytesOf(second), log));
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
  };
  expect(combined("here;a;b;", "here;b;c;") == "here;a;b;c;", "the entries of both");
  expect(combined("here;a;", "there;b;") == "two timing caches: TensorRT does not take it",
         "a reason");
  expect(combined("here;a;", "x") ==
             "two timing caches: TensorRT does not take it: not a timing cache",
         "TensorRT's");
}

}  // namespace

int main() {
  attaches("", "here;new;", "");
  attaches("here;old;", "here;new;old;", "");
  attaches("there;old;", "here;new;", "TensorRT does not take it: of another device");
  attaches("damaged", "here;new;", "TensorRT does not take it: not a timing cache");
  combines();
  expect(live == 0, "everything given back");
  std::printf("%d faults\n", failures);
  return failures == 0 ? 0 : 1;
}
