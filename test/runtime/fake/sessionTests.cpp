#include <cstring>

#include "sessionSteps.h"

/// The session on a device without a GPU: results against a twin, graphs, frames, kernels.

using namespace fake;

TEST(resultsAreTheTwins) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const auto ids = policy.ids(10, 1);
  const uint64_t state = prepare(session, policy, ids);
  for (int seed = 0; seed < 5; ++seed) expectResult(session, policy, state, ids, seed);
  expect(opened.record->captures == 1, "one capture for one shape");
  expect(opened.record->launches == 4, "the graph for every run but the first");
  expect(opened.record->faults.empty(), "no fault");
}

TEST(anotherInstructionIsCopiedAndNotCaptured) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const auto first = policy.ids(10, 1), second = policy.ids(10, 2);
  const uint64_t a = prepare(session, policy, first), b = prepare(session, policy, second);
  for (int seed = 0; seed < 6; ++seed) {
    expectResult(session, policy, seed % 2 == 0 ? a : b, seed % 2 == 0 ? first : second, seed);
  }
  expect(opened.record->captures == 1, "one capture for two instructions of one length");
}

TEST(anotherLengthIsCapturedAgainAndTheOldestDropped) {
  const SmallPolicy policy;
  auto record = std::make_shared<DeviceRecord>();
  SessionRequest request = policy.request();
  request.keptSteps = 2;
  Session session(SmallPolicy::parts({}, record), std::move(request));
  std::map<int, uint64_t> states;
  for (const int length : {5, 50, 500})
    states[length] = prepare(session, policy, policy.ids(length, 1));
  const auto runAt = [&](int length) {
    expectResult(session, policy, states[length], policy.ids(length, 1), length);
  };
  // the largest first: scratch memory that grows voids the graphs before it
  runAt(500);
  runAt(5);
  expect(record->captures == 2, "two lengths kept");
  runAt(500);
  runAt(50);
  expect(record->captures == 3, "the third length captured");
  runAt(500);
  expect(record->captures == 3, "the one used last kept");
  runAt(5);
  expect(record->captures == 4, "the dropped one captured again");
  session.close();
  expectClean(*record, "after close");
}

TEST(scratchMemoryGrowsUnderCapturedSteps) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const auto small = policy.ids(4, 1), large = policy.ids(4000, 2);
  const uint64_t a = prepare(session, policy, small);
  expectResult(session, policy, a, small, 1);
  const uint64_t b = prepare(session, policy, large);
  expectResult(session, policy, b, large, 2);
  // its graph named memory that is gone: it must have been captured again
  for (int seed = 3; seed < 6; ++seed) expectResult(session, policy, a, small, seed);
  expect(opened.record->captures == 3, "the first step captured again");
  expect(opened.record->faults.empty(), "no fault");
}

TEST(withoutGraphs) {
  const SmallPolicy policy;
  auto record = std::make_shared<DeviceRecord>();
  SessionRequest request = policy.request();
  request.usesGraphs = false;
  Session session(SmallPolicy::parts({}, record), std::move(request));
  const auto ids = policy.ids(10, 1);
  const uint64_t state = prepare(session, policy, ids);
  for (int seed = 0; seed < 3; ++seed) expectResult(session, policy, state, ids, seed);
  expect(record->captures == 0, "no capture");
}

TEST(partsOfACallSumToItsTime) {
  const SmallPolicy policy;
  for (const bool usesGraphs : {true, false}) {
    auto record = std::make_shared<DeviceRecord>();
    SessionRequest request = policy.request();
    request.usesGraphs = usesGraphs;
    Session session(SmallPolicy::parts({}, record), std::move(request));
    const uint64_t state = prepare(session, policy, policy.ids(10, 1));
    const StepResult first = run(session, policy, state, 0);
    expect(first.isFirst && first.computeMs == 0, "no parts of a first call");
    for (int seed = 1; seed < 4; ++seed) {
      const StepResult result = run(session, policy, state, seed);
      expect(!result.isFirst, "a first call once");
      // of the fake clock: one tick an event, so a missing or misplaced one shows
      expect(result.h2dMs == 1 && result.computeMs == 1 && result.d2hMs == 1,
             "one tick between neighbouring events");
      expect(result.h2dMs + result.computeMs + result.d2hMs == result.deviceMs,
             "the parts to sum to the whole");
      expect(result.enqueueMs > 0, "time to enqueue");
      expect(result.layers.empty(), "no layers unless watched");
    }
    session.close();
    expectClean(*record, "after calls with and without graphs");
  }
}

TEST(aStepThatIsCapturedAgainSaysSo) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const uint64_t a = prepare(session, policy, policy.ids(4, 1));
  run(session, policy, a, 1);
  expect(!run(session, policy, a, 2).isFirst, "the graph");
  // larger scratch memory voids it
  prepare(session, policy, policy.ids(4000, 2));
  expect(run(session, policy, a, 3).isFirst, "the capture told");
  expect(!run(session, policy, a, 4).isFirst, "the graph again");
}

TEST(watchedLayersComeWithTheirCallAndWithoutGraphs) {
  const SmallPolicy policy;
  auto record = std::make_shared<DeviceRecord>();
  SessionRequest request = policy.request();
  request.watchesLayers = true;
  Session session(SmallPolicy::parts({}, record), std::move(request));
  const auto ids = policy.ids(10, 1);
  const PreparedState prepared = session.prepare(SmallPolicy::prepareInputs(ids, policy.text));
  expect(!prepared.layers.empty(), "layers of the first engine");
  for (int seed = 0; seed < 3; ++seed) {
    const StepResult result = run(session, policy, prepared.id, seed);
    expect(result.layers.size() == 2, "a layer an output, of this call alone");
    expect(result.layers[0].name == "actions" || result.layers[1].name == "actions", "their names");
    expectResult(session, policy, prepared.id, ids, seed);
  }
  expect(record->captures == 0, "no capture");
  expect(session.layerInfo().step.find("\"Name\":\"actions\"") != std::string::npos,
         "the inspector's account");
  session.close();
  expectClean(*record, "after watched calls");
}

TEST(rangesAreNamedAsTheStages) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const uint64_t state = prepare(session, policy, policy.ids(10, 1));
  run(session, policy, state, 0);
  std::vector<std::string>& ranges = opened.record->ranges;
  expect(ranges.front() == "instruction", "the instruction first");
  ranges.clear();
  run(session, policy, state, 1);
  const std::vector<std::string> wanted{"policy", "policy/h2d", "policy/enqueue",
                                        "policy/enqueue/graph", "policy/wait"};
  expect(ranges == wanted, "the stages of a call from its graph");
  expect(opened.record->openRanges.empty(), "every range ended");
}

TEST(framesAreTheSameAsTheirImages) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const auto ids = policy.ids(10, 1);
  const uint64_t state = prepare(session, policy, ids);
  const auto proprio = policy.proprio(1);
  ImagePipelineRequest request;
  request.frames = {{8, 6, false}, {9, 7, false}};
  for (int seed = 0; seed < 3; ++seed) {
    std::vector<uint8_t> one(8 * 6 * 3), two(9 * 7 * 3), images;
    for (size_t i = 0; i < one.size(); ++i)
      one[i] = static_cast<uint8_t>(i + static_cast<size_t>(seed));
    for (size_t i = 0; i < two.size(); ++i)
      two[i] = static_cast<uint8_t>(3 * i + static_cast<size_t>(seed));
    for (const auto* frame : {&one, &two}) {
      for (size_t j = 0; j < 48; ++j)
        images.push_back(static_cast<uint8_t>((*frame)[j] + j % 3 + 1));
    }
    const auto inputs = SmallPolicy::stepInputs(images, proprio);
    const StepResult result =
        session.run(state, session.stage({inputs[1]}, request, {one.data(), two.data()}));
    expect(outputsOf(result).at("actions") == policy.expected(ids, images, proprio).at("actions"),
           "frames to give what their images give");
  }
  expect(opened.record->captures == 1, "the pipeline inside the graph");
  auto record = std::make_shared<DeviceRecord>();
  Session bare(SmallPolicy::parts({}, record, false), policy.request());
  const auto inputs = SmallPolicy::stepInputs({}, proprio);
  const std::vector<uint8_t> frame(9 * 7 * 3);
  const Failure failure =
      failureOf([&] { bare.stage({inputs[1]}, request, {frame.data(), frame.data()}); });
  expect(failure.kind == FailureKind::kRequest, "frames refused without kernels");
}

TEST(inputsInAnotherOrderAreTheSame) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const auto ids = policy.ids(10, 1);
  const uint64_t state = prepare(session, policy, ids);
  for (int seed = 0; seed < 4; ++seed) {
    const auto images = policy.images(seed);
    const auto proprio = policy.proprio(seed);
    auto inputs = SmallPolicy::stepInputs(images, proprio);
    if (seed % 2 == 1) std::swap(inputs[0], inputs[1]);
    const StepResult result = session.run(state, session.stage(inputs, {}, {}));
    expect(outputsOf(result).at("actions") == policy.expected(ids, images, proprio).at("actions"),
           "the twin's actions");
  }
  expect(opened.record->captures == 1, "one step for both orders");
}

TEST(framesThatTheDeviceCannotTakeAreNamed) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  ImagePipelineRequest request;
  request.frames = {{8, 6, false}, {9, 7, false}};
  for (int i = 0; i < 2; ++i)
    expect(opened.session->refusesFrames(request).empty(), "two frames to be taken");
  request.frames.push_back({8, 6, false});
  for (int i = 0; i < 2; ++i) {
    const std::string reason = opened.session->refusesFrames(request);
    expect(reason.find("found 3 that make 144 bytes") != std::string::npos,
           "the sizes in: " + reason);
  }
  Session bare(SmallPolicy::parts({}, std::make_shared<DeviceRecord>(), false), policy.request());
  expect(bare.refusesFrames(request) == "this build has no kernels", "no kernels to be said");
}

TEST(compiledKernelsAreGivenToTheNextSession) {
  const SmallPolicy policy;
  const auto ids = policy.ids(10, 1);
  SessionRequest request = policy.request();
  for (const int wanted : {2, 0}) {
    const auto record = std::make_shared<DeviceRecord>();
    Session session(SmallPolicy::parts({}, record), request);
    expectResult(session, policy, prepare(session, policy, ids), ids, 1);
    expect(record->compiled == wanted,
           std::to_string(wanted) + " compiled, found " + std::to_string(record->compiled));
    const SessionKernels kernels = session.kernels();
    expect(kernels.prepare.refused.empty() && kernels.step.refused.empty(), "kernels to be taken");
    request.prepare.kernels = kernels.prepare.bytes;
    request.step.kernels = kernels.step.bytes;
  }
  request.step.kernels = {1, 2, 3};
  Session session(SmallPolicy::parts({}, std::make_shared<DeviceRecord>()), request);
  expectResult(session, policy, prepare(session, policy, ids), ids, 2);
  expect(session.kernels().step.refused == "not this device's",
         "others to be refused, and the session to run");
}
