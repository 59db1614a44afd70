# The CUDA kernels as one static library of objects, compiled by nvcc for every architecture it knows of ours. nvcc is
# called by itself: CMake's CUDA language would try it on programs that the fetched tree need not be able to link.
set(SEMANTICVLA_HAS_KERNELS 0)
file(GLOB kernel_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/native/kernels/*.cu)
file(GLOB kernel_host_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/native/kernels/*.cpp)
if(SEMANTICVLA_NVCC AND SEMANTICVLA_CUDART_STATIC AND kernel_sources)
  set(SEMANTICVLA_HAS_KERNELS 1)
  execute_process(COMMAND ${SEMANTICVLA_NVCC} --list-gpu-code OUTPUT_VARIABLE known RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${SEMANTICVLA_NVCC} --list-gpu-code failed; name a working toolkit with CUDA_HOME")
  endif()
  set(wanted 75 80 86 87 89 90 110 120)
  if(SEMANTICVLA_ARCHS)
    set(wanted ${SEMANTICVLA_ARCHS})
  endif()
  set(gencode "")
  set(archs "")
  foreach(arch ${wanted})
    if(known MATCHES "sm_${arch}")
      list(APPEND gencode --generate-code=arch=compute_${arch},code=sm_${arch})
      list(APPEND archs ${arch})
    elseif(SEMANTICVLA_ARCHS)
      message(FATAL_ERROR "${SEMANTICVLA_NVCC} does not know sm_${arch}; it knows: ${known}")
    endif()
  endforeach()
  # Devices that none of these fits compile the newest older one's themselves, once. Code for a device runs on its own major
  # version alone, so the newest is not enough: between 90 and 110 there are others (100, 103).
  list(GET archs -1 newest)
  set(portable ${newest})
  if(90 IN_LIST archs)
    list(APPEND portable 90)
  endif()
  list(REMOVE_DUPLICATES portable)
  foreach(arch ${portable})
    list(APPEND gencode --generate-code=arch=compute_${arch},code=compute_${arch})
  endforeach()
  message(STATUS "Kernels for: ${archs}")
  set(kernel_objects "")
  file(GLOB kernel_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/native/kernels/*.h ${CMAKE_SOURCE_DIR}/native/kernels/*.cuh)
  foreach(source ${kernel_sources})
    get_filename_component(stem ${source} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/kernels/${stem}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/kernels
      COMMAND ${SEMANTICVLA_NVCC} -std=c++17 -O3 -c ${source} -o ${object} -I${CMAKE_SOURCE_DIR}/native
        -ccbin ${CMAKE_CXX_COMPILER} -Werror all-warnings -Wno-deprecated-gpu-targets
        -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra,-Wno-unused-parameter,-ffp-contract=off ${gencode}
      DEPENDS ${source} ${kernel_headers}
      VERBATIM)
    list(APPEND kernel_objects ${object})
  endforeach()
  # preprocessTables.cpp takes its resize taps from the reference room, so that both backends have the same ones
  set(kernel_table_sources
    ${CMAKE_SOURCE_DIR}/native/reference/lanczosResize.cpp
    ${CMAKE_SOURCE_DIR}/native/reference/centerCrop.cpp
    ${CMAKE_SOURCE_DIR}/native/reference/pillowBicubic.cpp
    ${CMAKE_SOURCE_DIR}/native/support/team.cpp)
  add_library(semanticvla_kernels STATIC ${kernel_objects} ${kernel_host_sources} ${kernel_table_sources})
  target_include_directories(semanticvla_kernels PRIVATE ${CMAKE_SOURCE_DIR}/native)
  target_compile_options(semanticvla_kernels PRIVATE -O3 -fPIC -fvisibility=hidden -ffp-contract=off)
  set_target_properties(semanticvla_kernels PROPERTIES LINKER_LANGUAGE CXX ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  target_include_directories(semanticvla_kernels SYSTEM PRIVATE ${SEMANTICVLA_CUDA_INCLUDE})
endif()
