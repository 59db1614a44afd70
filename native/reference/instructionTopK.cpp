#include "reference/instructionTopK.h"

#include <cmath>
#include <vector>

#include "reference/selection.h"
#include "reference/storage.h"

namespace semanticvla::reference {

namespace {

using Row = std::vector<float>;

/// `count` rows from row `first` on, as float32.
std::vector<Row> rowsOf(const void* rows, DataType type, int64_t first, int64_t count, int width) {
  std::vector<Row> values(count, Row(width));
  for (int64_t i = 0; i < count; ++i) {
    for (int c = 0; c < width; ++c) values[i][c] = load(rows, type, (first + i) * width + c);
  }
  return values;
}

float dotProduct(const Row& a, const Row& b) {
  float sum = 0.0f;
  for (size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

/// max(|row|, 1e-12); NaN where the squared length is not finite.
float lengthOf(const Row& row) {
  const float squared = dotProduct(row, row);
  if (!std::isfinite(squared)) return NAN;
  return std::fmax(std::sqrt(squared), 1e-12f);
}

}  // namespace

kernels::Status instructionTopK(const kernels::InstructionTopKParams& p) {
  const kernels::Status status = kernels::checkInstructionTopK(p);
  if (status != kernels::kOk) return status;
  const std::vector<Row> texts = rowsOf(p.textRows, p.type, 0, p.textTokens, p.width);
  std::vector<float> textLengths(p.textTokens);
  for (int64_t m = 0; m < p.textTokens; ++m) textLengths[m] = lengthOf(texts[m]);
  for (int64_t image = 0; image < p.images; ++image) {
    const int64_t firstRow = image * p.patches;
    const std::vector<Row> patches = rowsOf(p.patchRows, p.type, firstRow, p.patches, p.width);
    std::vector<float> scores(p.patches);
    for (int64_t n = 0; n < p.patches; ++n) {
      const float patchLength = lengthOf(patches[n]);
      float sum = 0.0f;
      for (int64_t m = 0; m < p.textTokens; ++m) {
        // 1. Cosine of patch n with text token m; -1 where the token is masked.
        const float cosine = dotProduct(patches[n], texts[m]) / patchLength / textLengths[m];
        const float similarity = p.mask[m] != 0 ? cosine : -1.0f;
        p.similarity[(firstRow + n) * p.textTokens + m] = similarity;
        // 2. Score: the mean over all columns, masked ones too.
        sum += similarity;
      }
      scores[n] = sum / static_cast<float>(p.textTokens);
    }
    // 3. The best patches, in patch order.
    const std::vector<int64_t> chosen = selectTopK(scores, p.topk);
    for (int64_t i = 0; i < p.topk; ++i) {
      const int64_t at = image * p.topk + i;
      p.indices[at] = chosen[i];
      copyElements(p.patchRows, (firstRow + chosen[i]) * p.width, p.kept, at * p.width, p.width,
                   p.type);
    }
  }
  return kernels::kOk;
}

}  // namespace semanticvla::reference
