#include <cstdio>

#include "runtime/cudaDevice.h"
#include "runtime/range.h"

int main() {
  const std::unique_ptr<semanticvla::runtime::Device> device =
      semanticvla::runtime::openCudaDevice(0);
  {
    const semanticvla::runtime::Range policy(*device, "policy");
    const semanticvla::runtime::Range upload(*device, "h2d");
  }
  std::printf("done\n");
}
