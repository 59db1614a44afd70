# CUDA's headers (enough to compile TensorRT code) and nvcc (for the kernels): from a toolkit, or from the tree that
# scripts/fetchNvcc.sh makes. Sets SEMANTICVLA_CUDA_INCLUDE, SEMANTICVLA_NVCC, SEMANTICVLA_CUDART_STATIC; empty: not found.
set(cache_home $ENV{SEMANTICVLA_TOOLCHAINS})
if(NOT cache_home)
  if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
    set(cache_home $ENV{XDG_CACHE_HOME}/semanticvla)
  else()
    set(cache_home $ENV{HOME}/.cache/semanticvla)
  endif()
endif()
file(GLOB fetched_trees ${cache_home}/nvcc-*/nvidia/cu*)
set(cuda_roots ${CUDA_HOME} $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda ${fetched_trees})

find_path(SEMANTICVLA_CUDA_INCLUDE cuda_runtime_api.h
  PATHS ${cuda_roots} PATH_SUFFIXES include targets/aarch64-linux/include targets/x86_64-linux/include NO_DEFAULT_PATH)
find_path(SEMANTICVLA_CUDA_INCLUDE cuda_runtime_api.h)
find_program(SEMANTICVLA_NVCC nvcc PATHS ${cuda_roots} PATH_SUFFIXES bin NO_DEFAULT_PATH)
find_program(SEMANTICVLA_NVCC nvcc)
find_library(SEMANTICVLA_CUDART_STATIC cudart_static
  PATHS ${cuda_roots} PATH_SUFFIXES lib64 lib targets/aarch64-linux/lib targets/x86_64-linux/lib NO_DEFAULT_PATH)
find_library(SEMANTICVLA_CUDART_STATIC cudart_static)

foreach(name SEMANTICVLA_CUDA_INCLUDE SEMANTICVLA_NVCC SEMANTICVLA_CUDART_STATIC)
  if(NOT ${name})
    set(${name} "")
  endif()
endforeach()
message(STATUS "CUDA headers: ${SEMANTICVLA_CUDA_INCLUDE}")
message(STATUS "nvcc: ${SEMANTICVLA_NVCC}")
