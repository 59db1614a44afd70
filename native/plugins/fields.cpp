#include "plugins/fields.h"

#include <cstring>
#include <stdexcept>
#include <string>

namespace semanticvla::plugins {

namespace {

const nvinfer1::PluginField& field(const nvinfer1::PluginFieldCollection* fields,
                                   const char* plugin, const char* name,
                                   nvinfer1::PluginFieldType type, const char* typeName) {
  const std::string what =
      std::string("plugin ") + plugin + ": attribute " + name + ": expected one " + typeName;
  for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
    const nvinfer1::PluginField& candidate = fields->fields[i];
    if (candidate.name == nullptr || std::strcmp(candidate.name, name) != 0) continue;
    if (candidate.type != type || candidate.length != 1 || candidate.data == nullptr) {
      throw std::invalid_argument(what + ", found type " +
                                  std::to_string(static_cast<int32_t>(candidate.type)) +
                                  " of length " + std::to_string(candidate.length));
    }
    return candidate;
  }
  throw std::invalid_argument(what + ", found none");
}

}  // namespace

int32_t integerField(const nvinfer1::PluginFieldCollection* fields, const char* plugin,
                     const char* name) {
  int32_t value = 0;
  std::memcpy(&value, field(fields, plugin, name, nvinfer1::PluginFieldType::kINT32, "int32").data,
              sizeof(value));
  return value;
}

float floatField(const nvinfer1::PluginFieldCollection* fields, const char* plugin,
                 const char* name) {
  float value = 0;
  std::memcpy(&value,
              field(fields, plugin, name, nvinfer1::PluginFieldType::kFLOAT32, "float32").data,
              sizeof(value));
  return value;
}

}  // namespace semanticvla::plugins
