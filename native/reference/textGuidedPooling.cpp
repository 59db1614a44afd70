#include "reference/textGuidedPooling.h"

#include <cmath>
#include <vector>

#include "reference/selection.h"
#include "reference/storage.h"

namespace semanticvla::reference {

namespace {

std::vector<float> softmax(const std::vector<float>& logits) {
  float largest = -INFINITY;
  for (const float logit : logits) {
    if (logit > largest) largest = logit;
  }
  std::vector<float> weights(logits.size());
  float sum = 0.0f;
  for (size_t i = 0; i < logits.size(); ++i) {
    weights[i] = std::exp(logits[i] - largest);
    sum += weights[i];
  }
  for (float& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

kernels::Status textGuidedPooling(const kernels::TextGuidedPoolingParams& p) {
  const kernels::Status status = kernels::checkTextGuidedPooling(p);
  if (status != kernels::kOk) return status;
  for (int64_t image = 0; image < p.images; ++image) {
    const float* similarity = p.similarity + image * p.patches * p.textTokens;
    std::vector<float> rows(static_cast<size_t>(p.patches) * p.width);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = load(p.patchRows, p.type, image * static_cast<int64_t>(rows.size()) + i);
    }
    // 1. Score of each text token: the mean of its column.
    std::vector<float> scores(p.textTokens);
    for (int64_t m = 0; m < p.textTokens; ++m) {
      float sum = 0.0f;
      for (int64_t n = 0; n < p.patches; ++n) sum += similarity[n * p.textTokens + m];
      scores[m] = sum / static_cast<float>(p.patches);
    }
    // 2. The best tokens, in token order.
    const std::vector<int64_t> chosen = selectTopK(scores, p.topk);
    for (int64_t i = 0; i < p.topk; ++i) {
      const int64_t at = image * p.topk + i;
      p.indices[at] = chosen[i];
      // 3. Softmax over the patches of the token's column.
      std::vector<float> logits(p.patches);
      for (int64_t n = 0; n < p.patches; ++n) {
        logits[n] = similarity[n * p.textTokens + chosen[i]] / p.temperature;
      }
      const std::vector<float> weights = softmax(logits);
      // 4. The patches weighted by it.
      for (int64_t c = 0; c < p.width; ++c) {
        float sum = 0.0f;
        for (int64_t n = 0; n < p.patches; ++n) sum += weights[n] * rows[n * p.width + c];
        store(p.pooled, p.type, at * p.width + c, sum);
      }
    }
  }
  return kernels::kOk;
}

}  // namespace semanticvla::reference
