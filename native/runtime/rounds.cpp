#include "runtime/rounds.h"

#include <algorithm>
#include <cstring>

namespace semanticvla::runtime {

bool RoundsParts::reads(const std::string& tensor) const {
  if (engine == nullptr || weights.count(tensor) > 0 || row.tensors.count(tensor) > 0) return false;
  const std::vector<TensorInfo>& all = engine->tensors();
  return std::any_of(all.begin(), all.end(), [&](const TensorInfo& candidate) {
    return candidate.isInput && candidate.name == tensor;
  });
}

void RoundsParts::uploadTables(Device& device, Stream stream) {
  std::map<std::string, const RoundTable*> given;
  for (const RoundTable& table : spec.tables) given.emplace(table.name, &table);
  for (const TensorInfo& tensor : engine->tensors()) {
    if (tensor.isInput && given.count(tensor.name) > 0)
      row.add(tensor.name, tensor.type, tensor.dims);
  }
  const PinnedBuffer host(device, row.bytes * spec.count);
  tables = DeviceBuffer(device, row.bytes * spec.count, MemoryUse::kTransfers);
  for (const auto& [name, table] : given) {
    const auto found = row.tensors.find(name);
    if (found == row.tensors.end())
      throw Failure(FailureKind::kRequest, "table " + name + ": the engine has no such input");
    const Arena::Tensor& place = found->second;
    if (table->rows.size() != place.bytes * spec.count) {
      throw Failure(FailureKind::kRequest, "table " + name + ": expected " +
                                               std::to_string(spec.count) + " rows of " +
                                               std::to_string(place.bytes) + " bytes, found " +
                                               std::to_string(table->rows.size()) + " bytes");
    }
    for (size_t i = 0; i < spec.count; ++i) {
      std::memcpy(host.data() + i * row.bytes + place.offset, table->rows.data() + i * place.bytes,
                  place.bytes);
    }
  }
  device.copyToDevice(tables.data(), host.data(), row.bytes * spec.count, stream);
  device.synchronize(stream);
}

Rounds::Rounds(Device& device, const RoundsParts& parts,
               const std::map<std::string, Source>& sources, Stream stream, bool watchesLayers)
    : device_(device), parts_(parts) {
  const RoundsSpec& spec = parts.spec;
  std::map<std::string, Dims> dims;
  for (const TensorInfo& tensor : parts.engine->tensors()) {
    if (!parts.reads(tensor.name)) continue;
    const auto source = sources.find(tensor.name);
    if (source == sources.end())
      throw Failure(FailureKind::kPlan, "tensor " + tensor.name + ": no engine makes it");
    dims[tensor.name] = source->second.dims;
  }
  for (const auto& [name, tensor] : parts.row.tensors) dims[name] = tensor.dims;
  context_ = parts.engine->createContext(dims, stream);
  context_->setInputDims(dims);
  if (watchesLayers) context_->watchLayers();
  for (const TensorInfo& tensor : parts.engine->tensors()) {
    if (!tensor.isInput) outputs_.add(tensor.name, tensor.type, context_->dims(tensor.name));
  }
  const size_t carried = outputs_.tensors.at(spec.carriedOutput).bytes;
  row_ = DeviceBuffer(device, parts.row.bytes, MemoryUse::kTransfers);
  carried_ = DeviceBuffer(device, carried, MemoryUse::kTransfers);
  output_ = DeviceBuffer(device, outputs_.bytes, MemoryUse::kTransfers);
  initial_ = sources.at(spec.carriedInput).address;
  for (const auto& [name, address] : parts.weights) context_->bind(name, address);
  for (const auto& [name, tensor] : parts.row.tensors)
    context_->bind(name, row_.data() + tensor.offset);
  for (const auto& [name, tensor] : outputs_.tensors)
    context_->bind(name, output_.data() + tensor.offset);
  for (const auto& [name, source] : sources) {
    if (!parts.reads(name)) continue;
    context_->bind(name, name == spec.carriedInput ? carried_.data() : source.address);
  }
}

void Rounds::enqueue(Stream stream) {
  const RoundsSpec& spec = parts_.spec;
  const Arena::Tensor& carried = outputs_.tensors.at(spec.carriedOutput);
  for (size_t i = 0; i < spec.count; ++i) {
    const void* before = i == 0 ? initial_ : output_.data() + carried.offset;
    device_.copyOnDevice(carried_.data(), before, carried.bytes, stream);
    device_.copyOnDevice(row_.data(), parts_.tables.data() + i * parts_.row.bytes, parts_.row.bytes,
                         stream);
    context_->enqueue(stream);
  }
}

}  // namespace semanticvla::runtime
