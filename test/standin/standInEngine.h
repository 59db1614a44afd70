#pragma once

#include <memory>

#include "fakeDevice.h"
#include "runtime/engine.h"
#include "runtime/module.h"

namespace standin {

/// The builder: checks plugins and profiles as TensorRT's does, and makes a plan, which is the
/// model itself with its profiles, and with the weights of external files inside.
semanticvla::runtime::BuildResult build(const semanticvla::runtime::EntryPoints& entryPoints,
                                        const semanticvla::runtime::BuildRequest& request);

/// The engine: runs the plan's graph in ONNX Runtime, on the device's stream, from and to the
/// addresses that were bound when it was put there.
std::unique_ptr<semanticvla::runtime::Engine> loadEngine(fake::FakeDevice& device,
                                                         const semanticvla::runtime::Blob& plan);

}  // namespace standin
