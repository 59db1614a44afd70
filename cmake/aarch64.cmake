# Cross-compiling for a Jetson with GCC's cross compiler: cmake -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake (scripts/arm64.sh).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
