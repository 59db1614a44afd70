#include <cmath>
#include <cstring>
#include <random>

#include "fixture.h"

/// What a session refuses, and the arithmetic of weights.

namespace {

using namespace fake;

Failure openingFailure(SessionRequest request,
                       std::shared_ptr<DeviceRecord> record = std::make_shared<DeviceRecord>()) {
  const Failure failure =
      failureOf([&] { Session(SmallPolicy::parts({}, record), std::move(request)); });
  expectClean(*record, std::string("after: ") + failure.what());
  return failure;
}

void expectFailure(const Failure& failure, FailureKind kind, const char* part) {
  expect(failure.kind == kind, std::string("another kind of: ") + failure.what());
  expect(std::strstr(failure.what(), part) != nullptr,
         std::string(part) + " in: " + failure.what());
}

void replace(Blob& plan, const std::string& from, const std::string& to) {
  std::string text(plan.data, plan.data + plan.bytes);
  const size_t at = text.find(from);
  expect(at != std::string::npos, "the plan to hold " + from);
  text.replace(at, from.size(), to);
  plan = Blob::of({text.begin(), text.end()});
}

}  // namespace

TEST(plansThatDoNotFitAreRefused) {
  const SmallPolicy policy;
  SessionRequest request = policy.request();
  request.step.plan.bytes = 3;
  expectFailure(openingFailure(request), FailureKind::kPlan, "fake plan");
  request = policy.request();
  replace(request.step.plan, "in qkv bfloat16", "in qkv float16");
  expectFailure(openingFailure(request), FailureKind::kPlan, "found float16 [12, 4]");
  request = policy.request();
  replace(request.step.plan, "12,4", "4,12");
  expectFailure(openingFailure(request), FailureKind::kPlan, "found bfloat16 [4, 12]");
  request = policy.request();
  replace(request.step.plan, "in qkv", "in kvq");
  expectFailure(openingFailure(request), FailureKind::kPlan, "found none");
  request = policy.request();
  replace(request.step.plan, "in tail bfloat16", "in tail float32");
  expectFailure(openingFailure(request), FailureKind::kPlan, "one type in both engines");
}

TEST(weightsThatCannotBeReadAreRefused) {
  const SmallPolicy policy;
  SessionRequest request = policy.request();
  request.step.weights[1].parts[0].file = "/nonexistent/weights";
  expectFailure(openingFailure(request), FailureKind::kWeights, "No such file");
  request = policy.request();
  request.step.weights[1].parts[0].file = "/tmp";
  expectFailure(openingFailure(request), FailureKind::kWeights, "no regular file");
  request = policy.request();
  request.step.weights[1].parts[0].offset += 4;
  expectFailure(openingFailure(request), FailureKind::kWeights, "its end before byte");
  request = policy.request();
  request.step.weights[1].parts[0].bytes -= 4;
  expectFailure(openingFailure(request), FailureKind::kWeights, "found 4 numbers");
}

TEST(loadingIsCancelledAtEveryChunk) {
  const SmallPolicy policy;
  int chunks = 0;
  SessionRequest request = policy.request();
  uint64_t last = 0, total = 0;
  request.progress = [&](const UploadProgress& progress) {
    ++chunks;
    expect(progress.done > last || chunks == 1, "progress to go forward");
    last = progress.done;
    total = progress.total;
    return true;
  };
  auto record = std::make_shared<DeviceRecord>();
  {
    Session session(SmallPolicy::parts({}, record), request);
  }
  expect(last == total && total == (64 + 6 + 48 + 5) * 4, "all bytes reported");
  for (int n = 1; n <= chunks; ++n) {
    int count = 0;
    request = policy.request();
    request.progress = [&](const UploadProgress&) { return ++count < n; };
    expectFailure(openingFailure(request), FailureKind::kCancelled, "cancelled");
  }
}

TEST(callsThatDoNotFitAreRefused) {
  const SmallPolicy policy;
  auto record = std::make_shared<DeviceRecord>();
  Session session(SmallPolicy::parts({}, record), policy.request());
  const auto ids = policy.ids(10, 1);
  const auto prepared = SmallPolicy::prepareInputs(ids, policy.text);
  expectFailure(failureOf([&] { session.prepare({prepared[0]}); }), FailureKind::kRequest,
                "input text");
  auto wrong = prepared;
  wrong[1].dims = {9};
  expectFailure(failureOf([&] { session.prepare(wrong); }), FailureKind::kRequest,
                "expected [8], found [9]");
  wrong = prepared;
  wrong[0].bytes -= 8;
  expectFailure(failureOf([&] { session.prepare(wrong); }), FailureKind::kRequest, "bytes");
  wrong = prepared;
  wrong[0].name = "embed";
  expectFailure(failureOf([&] { session.prepare(wrong); }), FailureKind::kRequest,
                "none of this name");

  const uint64_t state = session.prepare(prepared).id;
  const auto images = policy.images(1);
  const auto proprio = policy.proprio(1);
  const auto inputs = SmallPolicy::stepInputs(images, proprio);
  expectFailure(failureOf([&] { session.run(state, session.stage({inputs[0]}, {}, {})); }),
                FailureKind::kRequest, "input proprio");
  auto other = inputs;
  other[0].dims = {3, 4, 4, 3};
  expectFailure(failureOf([&] { session.stage(other, {}, {}); }), FailureKind::kRequest,
                "expected [2, 4, 4, 3]");
  expectFailure(failureOf([&] { session.run(state + 1, session.stage(inputs, {}, {})); }),
                FailureKind::kRequest, "released");
  session.run(state, session.stage(inputs, {}, {}));
  session.close();
  session.close();
  expectFailure(failureOf([&] { session.stage(inputs, {}, {}); }), FailureKind::kRequest, "closed");
  expectFailure(failureOf([&] { session.prepare(prepared); }), FailureKind::kRequest, "closed");
  expectFailure(failureOf([&] { session.memory(); }), FailureKind::kRequest, "closed");
  expectClean(*record, "after close");
}

namespace {

/// Rounding by its definition: the nearest multiple of the last place, ties to even.
float roundedTo(float value, int fractionBits, int lowestExponent, double largest) {
  if (!std::isfinite(value) || value == 0.0f) return value;
  int exponent = 0;
  std::frexp(static_cast<double>(value), &exponent);
  const int place = std::max(exponent - 1, lowestExponent) - fractionBits;
  const double rounded =
      std::ldexp(std::nearbyint(std::ldexp(static_cast<double>(value), -place)), place);
  if (std::fabs(rounded) > largest) return std::copysign(INFINITY, value);
  return static_cast<float>(rounded);
}

float widen(FloatType type, uint16_t bits) {
  float value = 0;
  convertFloats(type, &bits, FloatType::kFloat32, &value, 1);
  return value;
}

}  // namespace

TEST(weightsAreRoundedToTheNearest) {
  std::mt19937_64 random(7);
  std::vector<float> values{0.0f,    -0.0f,    1.0f,     65504.0f, 65519.9f,
                            6.0e-8f, 2.98e-8f, 2.99e-8f, 6.1e-5f,  1e-45f};
  for (int i = 0; i < 400000; ++i) {
    const auto bits = static_cast<uint32_t>(random());
    float value;
    std::memcpy(&value, &bits, sizeof value);
    values.push_back(value);
    // near halves, where the rounding is decided
    values.push_back(std::ldexp(static_cast<float>(static_cast<int>(random() % 16384) - 8192),
                                static_cast<int>(random() % 30) - 28));
  }
  for (const float value : values) {
    if (std::isnan(value)) continue;
    uint16_t half = 0, brain = 0;
    convertFloats(FloatType::kFloat32, &value, FloatType::kFloat16, &half, 1);
    convertFloats(FloatType::kFloat32, &value, FloatType::kBfloat16, &brain, 1);
    const float wantedHalf = roundedTo(value, 10, -14, 65504.0);
    const float wantedBrain = roundedTo(value, 7, -126, 3.3895313892515355e38);
    const float foundHalf = widen(FloatType::kFloat16, half),
                foundBrain = widen(FloatType::kBfloat16, brain);
    expect(std::memcmp(&foundHalf, &wantedHalf, 4) == 0, "half of " + std::to_string(value));
    expect(std::memcmp(&foundBrain, &wantedBrain, 4) == 0, "bfloat16 of " + std::to_string(value));
  }
}

TEST(everyHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    for (const FloatType type : {FloatType::kFloat16, FloatType::kBfloat16}) {
      const float wide = widen(type, static_cast<uint16_t>(bits));
      uint16_t back = 0;
      convertFloats(FloatType::kFloat32, &wide, type, &back, 1);
      if (std::isnan(wide)) {
        expect(std::isnan(widen(type, back)), "NaN to stay NaN");
      } else {
        expect(back == bits, "the bits of " + std::to_string(bits));
      }
    }
  }
}

TEST(numbersThatDoNotFitAreFound) {
  const std::vector<float> values{1.0f, INFINITY, 65520.0f, 2.0f};
  std::vector<uint16_t> halves(4);
  expect(
      convertFloats(FloatType::kFloat32, values.data(), FloatType::kFloat16, halves.data(), 4) == 2,
      "the third");
  expect(convertFloats(FloatType::kFloat32, values.data(), FloatType::kBfloat16, halves.data(),
                       4) == 4,
         "none");
  const double large = 1e300;
  float narrow = 0;
  expect(convertFloats(FloatType::kFloat64, &large, FloatType::kFloat32, &narrow, 1) == 0,
         "a double past float32");
}
