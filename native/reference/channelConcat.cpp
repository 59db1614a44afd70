#include "reference/channelConcat.h"

#include "reference/storage.h"

namespace semanticvla::reference {

kernels::Status channelConcat(const kernels::ChannelConcatParams& p) {
  const kernels::Status status = kernels::checkChannelConcat(p);
  if (status != kernels::kOk) return status;
  const int64_t left = p.leftWidth, right = p.rightWidth;
  for (int64_t image = 0; image < p.images; ++image) {
    for (int64_t i = 0; i < p.rows; ++i) {
      const int64_t row = image * p.rows + i;
      // 1. The left tower's row, counted from leftFirst.
      copyElements(p.left, (image * p.leftRows + p.leftFirst + i) * left, p.joined,
                   row * (left + right), left, p.type);
      // 2. The right tower's row behind it.
      copyElements(p.right, row * right, p.joined, row * (left + right) + left, right, p.type);
    }
  }
  return kernels::kOk;
}

}  // namespace semanticvla::reference
