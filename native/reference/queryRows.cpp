#include "reference/queryRows.h"

#include "reference/storage.h"

namespace semanticvla::reference {

kernels::Status queryRows(const kernels::QueryRowsParams& p) {
  const kernels::Status status = kernels::checkQueryRows(p);
  if (status != kernels::kOk) return status;
  const int64_t width = p.width;
  for (int64_t image = 0; image < p.images; ++image) {
    for (int64_t row = 0; row < p.rows; ++row) {
      copyElements(p.tokenRows, (image * p.tokens + p.first + row) * width, p.queries,
                   (image * p.rows + row) * width, width, p.type);
    }
  }
  return kernels::kOk;
}

}  // namespace semanticvla::reference
