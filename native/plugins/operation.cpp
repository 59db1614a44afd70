#include "plugins/operation.h"

namespace semanticvla::plugins {

namespace {

using nvinfer1::DataType;

DataType typeOf(Holds holds, DataType firstInput) {
  switch (holds) {
    case Holds::kBool:
      return DataType::kBOOL;
    case Holds::kInt8:
      return DataType::kINT8;
    case Holds::kInt64:
      return DataType::kINT64;
    case Holds::kFloat32:
      return DataType::kFLOAT;
    default:
      return firstInput;
  }
}

bool isActivation(DataType type) {
  return type == DataType::kFLOAT || type == DataType::kHALF || type == DataType::kBF16;
}

}  // namespace

bool Operation::supports(int32_t position, const DataType* types) const {
  if (position < 0 || position >= inputCount() + outputCount()) return false;
  const bool isInput = position < inputCount();
  const Holds holds =
      isInput ? signature_.inputs[position] : signature_.outputs[position - inputCount()];
  if (holds == Holds::kActivations) return isActivation(types[position]);
  return types[position] == typeOf(holds, types[0]);
}

void Operation::outputTypes(const DataType* inputs, DataType* outputs) const {
  for (int32_t i = 0; i < outputCount(); ++i) outputs[i] = typeOf(signature_.outputs[i], inputs[0]);
}

}  // namespace semanticvla::plugins
