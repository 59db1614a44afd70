#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "fakeEngine.h"
#include "runtime/module.h"

/// A TensorRT module without TensorRT and without a GPU, for the tests that go through the addon. SEMANTICVLA_FAKE_DEVICE
/// holds options of the next device, `key=value` with spaces between: capacity, failAt, capability, driver, and log, a file
/// that gets one line of JSON for each device that ends.

namespace {

using namespace fake;

std::map<std::string, std::string> readOptions() {
  std::map<std::string, std::string> options;
  const char* text = std::getenv("SEMANTICVLA_FAKE_DEVICE");
  std::istringstream words(text == nullptr ? "" : text);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals != std::string::npos) options[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return options;
}

struct LoggingRecord : DeviceRecord {
  std::string log;
  ~LoggingRecord() {
    if (log.empty()) return;
    std::ofstream(log, std::ios::app) << "{\"calls\":" << calls << ",\"liveBytes\":" << liveBytes
                                      << ",\"livePinnedBytes\":" << livePinnedBytes << ",\"liveHandles\":" << liveHandles
                                      << ",\"captures\":" << captures << ",\"copiedToDevice\":" << copiedToDevice
                                      << ",\"faults\":" << faults.size() << "}\n";
  }
};

DeviceOptions deviceOptions(const std::map<std::string, std::string>& given) {
  DeviceOptions options;
  const auto number = [&](const char* name, auto& value) {
    const auto found = given.find(name);
    if (found != given.end()) value = static_cast<std::decay_t<decltype(value)>>(std::stoull(found->second));
  };
  number("capacity", options.capacity);
  number("failAt", options.failAt);
  number("capability", options.capability);
  number("driver", options.driverVersion);
  return options;
}

std::vector<DeviceInfo> listDevices() {
  if (readOptions().count("none") > 0) throw Failure(FailureKind::kDriver, "GPU driver: expected libcuda.so.1, found none");
  return {FakeDevice(deviceOptions(readOptions()), std::make_shared<DeviceRecord>()).info()};
}

std::unique_ptr<Device> openDevice(int) {
  listDevices();
  const auto options = readOptions();
  auto record = std::make_shared<LoggingRecord>();
  const auto log = options.find("log");
  if (log != options.end()) record->log = log->second;
  return std::make_unique<FakeDevice>(deviceOptions(options), record);
}

std::unique_ptr<Engine> loadEngine(const EntryPoints&, Device& device, const std::vector<uint8_t>& plan) {
  return loadFakeEngine(static_cast<FakeDevice&>(device), plan);
}

/// The model is text: `fake model`, then `steps N`, how many steps of progress it takes. The plan is the model again.
BuildResult build(const EntryPoints&, const BuildRequest& request) {
  std::istringstream words(std::string(request.model.begin(), request.model.end()));
  std::string first, second, name;
  int steps = 0;
  if (!(words >> first >> second >> name >> steps) || first + second + name != "fakemodelsteps") {
    throw std::runtime_error("fake model: not one");
  }
  BuildResult result;
  // as TensorRT does: not on the thread that builds
  std::thread([&] {
    for (int step = 1; step <= steps && !result.isCancelled; ++step) {
      result.isCancelled = request.progress && !request.progress({"Building engine", "", step, steps});
    }
  }).join();
  if (!result.isCancelled) result.plan = request.model;
  return result;
}

const Module kModule{kModuleAbi, "trt10", {10, 3, 0, 0}, false, build, listDevices, openDevice, loadEngine, nullptr};

}  // namespace

extern "C" __attribute__((visibility("default"))) const Module* semanticvlaTensorRtModule() { return &kModule; }
