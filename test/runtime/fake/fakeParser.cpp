/// What of TensorRT's ONNX parser the loader asks for.
extern "C" void* createNvOnnxParser_INTERNAL(void*, void*, int) { return nullptr; }
