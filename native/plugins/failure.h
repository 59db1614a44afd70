#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace semanticvla::plugins {

/// TensorRT's callbacks return a status and no text. What went wrong is kept for the thread it
/// happened on, for whoever called TensorRT there, and logged where the plugin library was loaded
/// by a tool.
void recordFailure(const char* plugin, const char* callback, const char* what) noexcept;

/// The last failure on this thread, and forgets it; empty when there was none.
std::string takeFailure();

/// Where failures are logged; null: nowhere.
void setFailureLog(nvinfer1::ILoggerFinder* finder) noexcept;

}  // namespace semanticvla::plugins
