# build-cmake/Release/semanticvla.node: the same sources and flags as native/binding.gyp.
file(STRINGS ${CMAKE_SOURCE_DIR}/native/sources.txt addon_sources)
add_library(semanticvla_addon SHARED ${addon_sources})
set_target_properties(semanticvla_addon PROPERTIES PREFIX "" OUTPUT_NAME semanticvla SUFFIX ".node")
# cmake-js names Node's headers; they are not ours to warn about.
target_include_directories(semanticvla_addon SYSTEM PRIVATE ${CMAKE_JS_INC})
target_compile_definitions(semanticvla_addon PRIVATE
  NAPI_VERSION=9 NODE_ADDON_API_CPP_EXCEPTIONS_ALL NAPI_CPP_EXCEPTIONS
  NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS)
# With the checks for null GCC takes the address of a function for no constant, and node-addon-api compares them.
if(CMAKE_BUILD_TYPE STREQUAL Sanitize)
  target_compile_options(semanticvla_addon PRIVATE
    -fno-sanitize=null,nonnull-attribute,returns-nonnull-attribute)
endif()
target_link_libraries(semanticvla_addon PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
