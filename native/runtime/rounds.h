#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/arena.h"
#include "runtime/engine.h"
#include "runtime/owned.h"

namespace semanticvla::runtime {

/// An input of which every round reads its own row; `rows` holds them one after the other.
struct RoundTable {
  std::string name;
  std::vector<uint8_t> rows;
};

/// How an engine is run a fixed number of times after the step's engine, in the same CUDA graph.
/// Each round reads the prepared state, outputs of the step's engine, its row of each table, and
/// what the round before left.
struct RoundsSpec {
  /// 0: there are no rounds.
  size_t count = 0;
  std::vector<RoundTable> tables;
  /// Output of a round that the next one reads as `carriedInput`, which comes with the call.
  std::string carriedOutput;
  std::string carriedInput;
};

/// What the rounds of all steps share. Empty without rounds.
struct RoundsParts {
  std::unique_ptr<Engine> engine;
  std::map<std::string, void*> weights;
  RoundsSpec spec;
  /// One round's row of every table.
  Arena row;
  /// `row` for each round.
  DeviceBuffer tables;

  /// Whether the engine reads this: neither a weight nor a table.
  bool reads(const std::string& tensor) const;
  /// Puts the tables on the device. @throws Failure kRequest for one that the engine does not have,
  /// or of another size
  void uploadTables(Device& device, Stream stream);
};

/// The rounds of one step, at its shapes and at fixed addresses.
class Rounds {
 public:
  /// Where a tensor that a round reads lies.
  struct Source {
    Dims dims;
    void* address;
  };
  /// @param sources by name, of everything that the engine reads besides weights and tables
  Rounds(Device& device, const RoundsParts& parts, const std::map<std::string, Source>& sources,
         Stream stream, bool watchesLayers);

  Context& context() { return *context_; }
  const Arena& outputs() const { return outputs_; }
  const DeviceBuffer& output() const { return output_; }
  void enqueue(Stream stream);

 private:
  Device& device_;
  const RoundsParts& parts_;
  std::unique_ptr<Context> context_;
  Arena outputs_;
  DeviceBuffer row_;
  DeviceBuffer carried_;
  DeviceBuffer output_;
  const void* initial_ = nullptr;
};

}  // namespace semanticvla::runtime
