#include "reference/film.h"

#include <cmath>

#include "reference/storage.h"

namespace semanticvla::reference {

kernels::Status film(const kernels::FilmParams& p) {
  const kernels::Status status = kernels::checkFilm(p);
  if (status != kernels::kOk) return status;
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t c = 0; c < p.width; ++c) {
      const float scale = 1.0f + load(p.gamma, p.type, c);
      const float value = load(p.tokens, p.type, row * p.width + c);
      store(p.modulated, p.type, row * p.width + c,
            std::fma(value, scale, load(p.beta, p.type, c)));
    }
  }
  return kernels::kOk;
}

}  // namespace semanticvla::reference
