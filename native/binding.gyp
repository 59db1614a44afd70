{
  # The CPU part of the addon, for scripts/install.mjs. It lies here because package managers compile whatever has a binding.gyp
  # in its first folder.
  'targets': [
    {
      'target_name': 'semanticvla',
      # One list for node-gyp and CMake.
      'sources': ['<!@(sed s,^native/,, sources.txt)'],
      'include_dirs': [
        '.',
        "<!(node -p \"require('node-addon-api').include_dir\")",
      ],
      'defines': [
        'NAPI_VERSION=9', 'NODE_ADDON_API_CPP_EXCEPTIONS_ALL', 'NAPI_CPP_EXCEPTIONS',
        # A worker that is being terminated takes no exception any more; throwing one all the same would abort the process.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags!': ['-fno-exceptions'],
      'cflags_cc!': ['-fno-exceptions', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': [
        '-std=c++17', '-O3', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden',
        # The arithmetic must round where TensorFlow's does: no fused multiply-add (ARM compilers fuse by default).
        '-ffp-contract=off',
      ],
    },
  ],
}
