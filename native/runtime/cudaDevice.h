#pragma once

#include <memory>
#include <vector>

#include "runtime/device.h"

namespace semanticvla::runtime {

/// The GPUs that the driver shows. Throws Failure kDriver when there is no driver.
std::vector<DeviceInfo> listCudaDevices();

/// One of them. Calls the driver (libcuda.so.1, opened at run time) and not the CUDA runtime, so
/// that no toolkit is needed to run it. The kernels' and TensorRT's runtimes share its primary
/// context.
std::unique_ptr<Device> openCudaDevice(int index);

}  // namespace semanticvla::runtime
