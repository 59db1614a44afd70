#pragma once

#include <cstdint>
#include <vector>

namespace semanticvla::reference {

/// Indices of the `topk` largest scores, ascending. Equal scores: the lower index first; NaN last,
/// several NaN by index.
std::vector<int64_t> selectTopK(const std::vector<float>& scores, int topk);

}  // namespace semanticvla::reference
