#include "environment.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace fake {

namespace {

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
    std::ofstream(log, std::ios::app)
        << "{\"calls\":" << calls << ",\"liveBytes\":" << liveBytes
        << ",\"livePinnedBytes\":" << livePinnedBytes << ",\"liveHandles\":" << liveHandles
        << ",\"captures\":" << captures << ",\"capturesTried\":" << capturesTried
        << ",\"launches\":" << launches << ",\"compiled\":" << compiled
        << ",\"copiedToDevice\":" << copiedToDevice << ",\"faults\":" << faults.size() << "}\n";
  }
};

void readInto(const std::map<std::string, std::string>& given, DeviceOptions& options) {
  const auto number = [&](const char* name, auto& value) {
    const auto found = given.find(name);
    if (found != given.end())
      value = static_cast<std::decay_t<decltype(value)>>(std::stoull(found->second));
  };
  number("capacity", options.capacity);
  number("failAt", options.failAt);
  number("captures", options.captures);
  number("capability", options.capability);
  number("driver", options.driverVersion);
  const auto wrong = given.find("wrong");
  if (wrong != given.end()) options.wrong = wrong->second;
}

}  // namespace

std::vector<DeviceInfo> listDevices(DeviceOptions options) {
  const auto given = readOptions();
  if (given.count("none") > 0)
    throw Failure(FailureKind::kDriver, "GPU driver: expected libcuda.so.1, found none");
  readInto(given, options);
  return {FakeDevice(options, std::make_shared<DeviceRecord>()).info()};
}

std::unique_ptr<FakeDevice> openDevice(DeviceOptions options) {
  const auto given = readOptions();
  listDevices(options);
  readInto(given, options);
  auto record = std::make_shared<LoggingRecord>();
  const auto log = given.find("log");
  if (log != given.end()) record->log = log->second;
  return std::make_unique<FakeDevice>(options, record);
}

}  // namespace fake
