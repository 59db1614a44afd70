#include "reference/selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace semanticvla::reference {

std::vector<int64_t> selectTopK(const std::vector<float>& scores, int topk) {
  // 1. All indices, best first. A stable sort leaves equal ones in index order.
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (std::isnan(scores[a]) || std::isnan(scores[b])) {
      return !std::isnan(scores[a]) && std::isnan(scores[b]);
    }
    return scores[a] > scores[b];
  });
  // 2. The first topk, in ascending order.
  order.resize(topk);
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace semanticvla::reference
