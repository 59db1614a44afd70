// The kernel tests: on the CPU through the stand-in for CUDA (scripts/kernelTests.sh), or on a GPU
// (npm run test:gpu). Arguments: parts of test names; none means all.

#include "device.h"

int main(int argc, char** argv) { return kernelTest::runTests(argc, argv); }
