# semanticvla_<family>.so beside the addon: native/runtime and native/plugins compiled once per TensorRT family, linked to no
# TensorRT. The addon opens the one that fits the library it finds. Each is also a plugin library by itself (trtexec
# --dynamicPlugins).
file(GLOB module_sources CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/native/runtime/*.cpp ${CMAKE_SOURCE_DIR}/native/plugins/*.cpp)
# compiled into the addon alone: opening libraries, and the session, which knows neither CUDA nor TensorRT
foreach(source ${addon_sources})
  list(REMOVE_ITEM module_sources ${CMAKE_SOURCE_DIR}/${source})
endforeach()
# in both: small, and no two of them share state
list(APPEND module_sources ${CMAKE_SOURCE_DIR}/native/runtime/device.cpp ${CMAKE_SOURCE_DIR}/native/runtime/engine.cpp)
if(SEMANTICVLA_HAS_KERNELS)
  list(REMOVE_ITEM module_sources ${CMAKE_SOURCE_DIR}/native/plugins/noKernels.cpp)
else()
  list(REMOVE_ITEM module_sources ${CMAKE_SOURCE_DIR}/native/plugins/kernelCalls.cpp
    ${CMAKE_SOURCE_DIR}/native/runtime/kernelPipeline.cpp)
endif()

set(families_found "")
foreach(family trt10 trt11 rtx1)
  if(NOT DEFINED SEMANTICVLA_HEADERS_${family} OR NOT SEMANTICVLA_CUDA_INCLUDE)
    continue()
  endif()
  list(APPEND families_found ${family}-${SEMANTICVLA_HEADERS_VERSION_${family}})
  set(target semanticvla_${family})
  add_library(${target} MODULE ${module_sources})
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX ".so")
  target_include_directories(${target} SYSTEM PRIVATE ${SEMANTICVLA_HEADERS_${family}} ${SEMANTICVLA_CUDA_INCLUDE})
  target_compile_definitions(${target} PRIVATE SEMANTICVLA_HAS_KERNELS=${SEMANTICVLA_HAS_KERNELS})
  # Every TensorRT call goes through a pointer or a virtual table: an undefined symbol is a mistake.
  if(NOT CMAKE_BUILD_TYPE STREQUAL Sanitize)
    target_link_options(${target} PRIVATE -Wl,--no-undefined)
  endif()
  target_link_libraries(${target} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  if(SEMANTICVLA_HAS_KERNELS)
    target_link_libraries(${target} PRIVATE semanticvla_kernels ${SEMANTICVLA_CUDART_STATIC} rt)
  endif()
endforeach()

if(families_found)
  message(STATUS "TensorRT modules: ${families_found} (kernels: ${SEMANTICVLA_HAS_KERNELS})")
else()
  message(STATUS "TensorRT modules: none. TensorRT's headers come with its packages (TENSORRT_ROOT names others) or scripts/fetchTensorRtRtx.sh, CUDA's with a toolkit or scripts/fetchNvcc.sh")
endif()
