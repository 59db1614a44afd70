#pragma once

#include <memory>
#include <vector>

#include "fakeDevice.h"

namespace fake {

/// The device of a module of the tests. SEMANTICVLA_FAKE_DEVICE holds options of the next one,
/// `key=value` with spaces between: capacity, failAt, captures, capability, driver, wrong (a
/// mistake on purpose), none (there is no device), and log, a file that gets one line of JSON for
/// each device that ends.

std::vector<DeviceInfo> listDevices(DeviceOptions options);
std::unique_ptr<FakeDevice> openDevice(DeviceOptions options);

}  // namespace fake
