#pragma once

#include <cuda.h>

#include <string>

namespace semanticvla::runtime {

/// The driver's functions by the names that every driver since CUDA 11.4 exports, whatever newer
/// version the header knows.
struct CudaDriver {
  CUresult (*init)(unsigned int);
  CUresult (*driverGetVersion)(int*);
  CUresult (*deviceGetCount)(int*);
  CUresult (*deviceGet)(CUdevice*, int);
  CUresult (*deviceGetName)(char*, int, CUdevice);
  CUresult (*deviceGetUuid)(CUuuid*, CUdevice);
  CUresult (*deviceGetAttribute)(int*, CUdevice_attribute, CUdevice);
  CUresult (*deviceTotalMem)(size_t*, CUdevice);
  CUresult (*primaryCtxRetain)(CUcontext*, CUdevice);
  CUresult (*primaryCtxRelease)(CUdevice);
  CUresult (*ctxSetCurrent)(CUcontext);
  CUresult (*memAlloc)(CUdeviceptr*, size_t);
  CUresult (*memFree)(CUdeviceptr);
  CUresult (*memHostAlloc)(void**, size_t, unsigned int);
  CUresult (*memFreeHost)(void*);
  CUresult (*memGetInfo)(size_t*, size_t*);
  CUresult (*memcpyHtoDAsync)(CUdeviceptr, const void*, size_t, CUstream);
  CUresult (*memcpyDtoHAsync)(void*, CUdeviceptr, size_t, CUstream);
  CUresult (*memcpyDtoDAsync)(CUdeviceptr, CUdeviceptr, size_t, CUstream);
  CUresult (*streamCreate)(CUstream*, unsigned int);
  CUresult (*streamDestroy)(CUstream);
  CUresult (*streamSynchronize)(CUstream);
  CUresult (*streamBeginCapture)(CUstream, CUstreamCaptureMode);
  CUresult (*streamEndCapture)(CUstream, CUgraph*);
  CUresult (*eventCreate)(CUevent*, unsigned int);
  CUresult (*eventDestroy)(CUevent);
  CUresult (*eventRecord)(CUevent, CUstream);
  CUresult (*eventRecordWithFlags)(CUevent, CUstream, unsigned int);
  CUresult (*eventSynchronize)(CUevent);
  CUresult (*eventElapsedTime)(float*, CUevent, CUevent);
  CUresult (*graphInstantiate)(CUgraphExec*, CUgraph, unsigned long long);
  CUresult (*graphUpload)(CUgraphExec, CUstream);
  CUresult (*graphLaunch)(CUgraphExec, CUstream);
  CUresult (*graphExecDestroy)(CUgraphExec);
  CUresult (*graphDestroy)(CUgraph);
  CUresult (*getErrorName)(CUresult, const char**);
  CUresult (*getErrorString)(CUresult, const char**);

  /// `CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)`
  std::string describe(CUresult result) const;
};

/// Opened once and never closed, since the driver's threads keep running. Throws Failure kDriver.
const CudaDriver& cudaDriver();

}  // namespace semanticvla::runtime
