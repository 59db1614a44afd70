#include "plugins/failure.h"

#include <atomic>
#include <utility>

namespace semanticvla::plugins {

namespace {

// TensorRT gives plugins no place of their own to report to: its entry point for a logger is one
// function a library.
std::atomic<nvinfer1::ILoggerFinder*> failureLog{nullptr};
thread_local std::string lastFailure;

}  // namespace

void recordFailure(const char* plugin, const char* callback, const char* what) noexcept {
  try {
    lastFailure = std::string("plugin ") + plugin + ", " + callback + ": " + what;
    nvinfer1::ILoggerFinder* finder = failureLog.load();
    nvinfer1::ILogger* logger = finder == nullptr ? nullptr : finder->findLogger();
    if (logger != nullptr) logger->log(nvinfer1::ILogger::Severity::kERROR, lastFailure.c_str());
  } catch (...) {
    // out of memory for the message: the status code still says that it failed
  }
}

std::string takeFailure() { return std::exchange(lastFailure, std::string()); }

void setFailureLog(nvinfer1::ILoggerFinder* finder) noexcept { failureLog.store(finder); }

}  // namespace semanticvla::plugins
