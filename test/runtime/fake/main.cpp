#include <cstring>
#include <exception>

#include "fixture.h"

/// Runs the tests whose name contains the argument; all without one. Prints one line each and a
/// total.
int main(int argc, char** argv) {
  int passed = 0, failed = 0;
  for (const fake::Test& test : fake::tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    try {
      test.body();
      ++passed;
      std::printf("ok %s\n", test.name);
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED %s: %s\n", test.name, error.what());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
