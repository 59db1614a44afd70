#include "napi/convert.h"

#include <cstring>
#include <string>

namespace semanticvla::napi {

namespace {

/// The longest side and the largest team that the arithmetic below is written for.
constexpr int kMaxSide = 1 << 16;
constexpr int kMaxThreads = 256;

Napi::Object toObject(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) {
    throw Napi::TypeError::New(value.Env(), std::string("expected an object for ") + name);
  }
  return value.As<Napi::Object>();
}

}  // namespace

int toInt(const Napi::Value& value, const char* name, int low, int high) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0.5;
  // Also false for NaN.
  if (!(number >= low && number <= high) || number != static_cast<int>(number)) {
    throw Napi::RangeError::New(value.Env(), std::string("expected an integer in ") +
                                                 std::to_string(low) + ".." + std::to_string(high) +
                                                 " for " + name);
  }
  return static_cast<int>(number);
}

bool toBool(const Napi::Value& value, const char* name) {
  const Napi::Value entry = toObject(value, "options").Get(name);
  if (!entry.IsBoolean()) {
    throw Napi::TypeError::New(value.Env(), std::string("expected a boolean for ") + name);
  }
  return entry.As<Napi::Boolean>().Value();
}

int toSide(const Napi::Value& value, const char* name) { return toInt(value, name, 1, kMaxSide); }

ImageView toImage(const Napi::CallbackInfo& info, size_t first) {
  ImageView image;
  image.width = toSide(info[first + 1], "width");
  image.height = toSide(info[first + 2], "height");
  image.pixels = toBytes(info[first], "data", image.bytes());
  return image;
}

BytesView toWritableBytes(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), std::string("expected a Uint8Array for ") + name);
  }
  Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ElementLength()};
}

FloatsView toWritableFloats(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    throw Napi::TypeError::New(value.Env(), std::string("expected a Float32Array for ") + name);
  }
  Napi::Float32Array array = value.As<Napi::Float32Array>();
  return {array.Data(), array.ElementLength()};
}

const uint8_t* toBytes(const Napi::Value& value, const char* name, size_t length) {
  const BytesView bytes = toWritableBytes(value, name);
  if (bytes.length != length) {
    throw Napi::RangeError::New(value.Env(), std::string("expected ") + std::to_string(length) +
                                                 " bytes for " + name + " but received " +
                                                 std::to_string(bytes.length));
  }
  return bytes.data;
}

std::array<float, 3> toChannels(const Napi::Value& value, const char* name) {
  std::array<float, 3> channels{};
  const Napi::Object object = toObject(value, name);
  for (uint32_t c = 0; c < channels.size(); ++c) {
    const Napi::Value entry = object.Get(c);
    if (!entry.IsNumber()) {
      throw Napi::TypeError::New(value.Env(), std::string("expected three numbers for ") + name);
    }
    channels[c] = entry.As<Napi::Number>().FloatValue();
  }
  return channels;
}

void toFrames(const Napi::Value& value, std::vector<OwnedFrame>& frames) {
  if (!value.IsArray()) throw Napi::TypeError::New(value.Env(), "expected an array for frames");
  const Napi::Array array = value.As<Napi::Array>();
  if (array.Length() > kMaxImages) throw Napi::RangeError::New(value.Env(), "too many frames");
  frames.resize(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = toObject(array.Get(i), "frame");
    OwnedFrame& frame = frames[i];
    frame.width = toSide(object.Get("width"), "width");
    frame.height = toSide(object.Get("height"), "height");
    frame.bgr = toBool(object, "bgr");
    const size_t length = static_cast<size_t>(frame.width) * frame.height * 3;
    const uint8_t* data = toBytes(object.Get("data"), "data", length);
    frame.pixels.assign(data, data + length);
  }
}

reference::PreprocessOptions toPreprocessOptions(const Napi::Value& value) {
  const Napi::Object object = toObject(value, "options");
  reference::PreprocessOptions options;
  options.imageSize = toSide(object.Get("imageSize"), "imageSize");
  options.centerCrop = toBool(object, "centerCrop");
  options.jpeg = toBool(object, "jpeg");
  options.direct = toBool(object, "direct");
  options.threads = toInt(object.Get("threads"), "threads", 1, kMaxThreads);
  return options;
}

Napi::Uint8Array fromBytes(Napi::Env env, const uint8_t* data, size_t length) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, length);
  if (length > 0) std::memcpy(array.Data(), data, length);
  return array;
}

}  // namespace semanticvla::napi
