"""Compiles the kernels with CUDA 12.6's own compiler, which is what an Orin with JetPack 6 has, and prints ptxas's log.

The Python package index has no nvcc 12.6, but its front end, optimizer and assembler as a library: NVRTC. It compiles
device code only, so host functions of a source become device functions that nobody calls, and a few standard headers
are replaced by the lines that the kernels need of them. Needs no GPU.

    python3 scripts/nvrtcKernels.py [--arch sm_87] native/kernels/NAME.cu ...

Fetched once into ${SEMANTICVLA_TOOLCHAINS:-${XDG_CACHE_HOME:-~/.cache}/semanticvla}.
Exit codes: 0 compiled, 1 not, 3 the library is not there and could not be fetched.
"""

import argparse
import ctypes
import fcntl
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGES = ["nvidia-cuda-nvrtc-cu12==12.6.85", "nvidia-cuda-runtime-cu12==12.6.77"]

HEADERS = {
    "cuda_runtime.h": """#pragma once
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
template <class F>
int cudaLaunchKernel(F*, dim3, dim3, void**, unsigned long, struct CUstream_st*) { return 0; }
""",
    "cstdint": """#pragma once
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
typedef unsigned long uintptr_t;
#define INT32_MAX 2147483647
""",
    "cstddef": "#pragma once\ntypedef unsigned long size_t;\n",
    # NVRTC has it built in.
    "initializer_list": "#pragma once\n",
    "array": """#pragma once
namespace std {
template <class T, unsigned long N>
struct array {
  T values[N];
  constexpr T& operator[](unsigned long i) { return values[i]; }
  constexpr const T& operator[](unsigned long i) const { return values[i]; }
};
}
""",
}


def toolchain():
    """Folder of the unpacked packages, fetched when it is not there."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = os.environ.get("SEMANTICVLA_TOOLCHAINS") or os.path.join(cache, "semanticvla")
    tree = os.path.join(base, "nvrtc-12.6.85")
    if os.path.isdir(tree):
        return tree
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, "nvrtc-12.6.85.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(tree):
            return tree
        work = tempfile.mkdtemp(prefix="nvrtc-12.6.85.", dir=base)
        try:
            print(f"Fetching {' '.join(PACKAGES)}", file=sys.stderr)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            done = subprocess.run(pip + ["--only-binary", ":all:", "--dest", work] + PACKAGES, stdout=sys.stderr)
            if done.returncode != 0:
                print(
                    "Expected pip to download CUDA 12.6's compiler library but it failed (its message is above).\n"
                    "Go online, or give pip the wheels with PIP_NO_INDEX=1 PIP_FIND_LINKS=<folder>.",
                    file=sys.stderr,
                )
                sys.exit(3)
            for wheel in glob.glob(os.path.join(work, "*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(os.path.join(work, "tree"))
            os.rename(os.path.join(work, "tree"), tree)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return tree


def compile_source(nvrtc, source, options):
    """(succeeded, log) of one file."""
    with open(source, encoding="utf-8") as file:
        text = file.read().encode()
    names = (ctypes.c_char_p * len(HEADERS))(*[name.encode() for name in HEADERS])
    bodies = (ctypes.c_char_p * len(HEADERS))(*[body.encode() for body in HEADERS.values()])
    program = ctypes.c_void_p()
    label = os.path.basename(source).encode()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, label, len(HEADERS), bodies, names) != 0:
        raise RuntimeError(f"{source}: NVRTC could not make a program of it")
    arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    result = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return result == 0, log.value.decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--arch", default="sm_87")
    parser.add_argument("sources", nargs="+")
    given = parser.parse_args()
    native = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "native")
    tree = toolchain()
    library = glob.glob(os.path.join(tree, "nvidia/cuda_nvrtc/lib/libnvrtc.so.*"))[0]
    nvrtc = ctypes.CDLL(library)
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    options = [
        f"--gpu-architecture={given.arch}",
        "--std=c++17",
        "-default-device",
        "--ptxas-options=-v",
        f"-I{native}",
        f"-I{os.path.join(tree, 'nvidia/cuda_runtime/include')}",
    ]
    failed = 0
    for source in given.sources:
        succeeded, log = compile_source(nvrtc, source, options)
        print(log)
        print(f"{source}: {'compiled' if succeeded else 'FAILED'} by NVRTC {major.value}.{minor.value} for {given.arch}",
              file=sys.stderr)
        failed += not succeeded
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
