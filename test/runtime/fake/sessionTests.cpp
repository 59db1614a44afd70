#include <malloc.h>

#include <cstring>

#include "fixture.h"

/// The session on a device without a GPU: results against a twin, graphs, memory, and every call
/// failing once.

namespace {

using namespace fake;

struct Opened {
  std::shared_ptr<DeviceRecord> record = std::make_shared<DeviceRecord>();
  std::unique_ptr<Session> session;
};

Opened open(const SmallPolicy& policy, const DeviceOptions& options = {}) {
  Opened opened;
  opened.session =
      std::make_unique<Session>(SmallPolicy::parts(options, opened.record), policy.request());
  return opened;
}

uint64_t prepare(Session& session, const SmallPolicy& policy, const std::vector<int64_t>& ids) {
  return session.prepare(SmallPolicy::prepareInputs(ids, policy.text)).id;
}

StepResult run(Session& session, const SmallPolicy& policy, uint64_t state, int seed) {
  const auto images = policy.images(seed);
  const auto proprio = policy.proprio(seed);
  return session.run(state, session.stage(SmallPolicy::stepInputs(images, proprio), {}, {}));
}

/// Returns why this call, and no other before it, had no graph.
std::string expectResult(Session& session, const SmallPolicy& policy, uint64_t state,
                         const std::vector<int64_t>& ids, int seed) {
  const StepResult result = run(session, policy, state, seed);
  const auto found = outputsOf(result);
  const auto wanted = policy.expected(ids, policy.images(seed), policy.proprio(seed));
  for (const char* name : {"actions", "kept"}) {
    expect(found.at(name) == wanted.at(name),
           std::string(name) + " to be the twin's, seed " + std::to_string(seed));
  }
  return result.captureFailure;
}

/// Everything that a session does; used once for each call that may fail. Returns why there was no
/// graph.
std::string wholeLife(const SmallPolicy& policy, const DeviceOptions& options,
                      const std::shared_ptr<DeviceRecord>& record) {
  Session session(SmallPolicy::parts(options, record), policy.request());
  const auto first = policy.ids(10, 1), second = policy.ids(10, 2), longer = policy.ids(200, 3);
  const uint64_t a = prepare(session, policy, first), b = prepare(session, policy, second);
  std::string withoutGraph;
  for (int seed = 0; seed < 3; ++seed)
    withoutGraph += expectResult(session, policy, a, first, seed);
  withoutGraph += expectResult(session, policy, b, second, 4);
  const uint64_t c = prepare(session, policy, longer);
  withoutGraph += expectResult(session, policy, c, longer, 5);
  withoutGraph += expectResult(session, policy, a, first, 6);
  session.release(b);
  session.memory();
  session.kernels();
  ImagePipelineRequest images;
  images.frames = {{8, 6, false}, {5, 7, true}};
  const std::vector<uint8_t> one(8 * 6 * 3, 9), two(5 * 7 * 3, 11);
  const auto proprio = policy.proprio(1);
  const auto inputs = SmallPolicy::stepInputs({}, proprio);
  const StepResult result =
      session.run(a, session.stage({inputs[1]}, images, {one.data(), two.data()}));
  session.close();
  return withoutGraph + result.captureFailure;
}

}  // namespace

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

TEST(everyCallFailsOnce) {
  const SmallPolicy policy;
  auto whole = std::make_shared<DeviceRecord>();
  wholeLife(policy, {}, whole);
  expectClean(*whole, "after a life without failure");
  expect(whole->calls > 200, "a life of more than 200 calls");
  for (int n = 1; n <= whole->calls; ++n) {
    for (const bool isSticky : {true, false}) {
      auto record = std::make_shared<DeviceRecord>();
      DeviceOptions options;
      options.failAt = n;
      options.isSticky = isSticky;
      const std::string when = "with call " + std::to_string(n) + " failing";
      bool hasFailed = false;
      try {
        // a capture that fails alone costs the graph and nothing else
        hasFailed = wholeLife(policy, options, record).find("made to fail") != std::string::npos;
      } catch (const Failure& failure) {
        hasFailed = true;
        expect(failure.kind == FailureKind::kMemory || failure.kind == FailureKind::kDevice,
               "a typed failure " + when);
        expect(failure.kind != FailureKind::kMemory || failure.needed > 0,
               "the bytes needed " + when);
      }
      // waiting while closing is not an error of the caller
      expect(hasFailed || n > whole->calls - 3, "a failure " + when);
      expectClean(*record, when);
    }
  }
}

TEST(runGoesOnAfterMemoryRanOut) {
  const SmallPolicy policy;
  const auto ids = policy.ids(10, 1);
  // calls until the state is there
  auto before = std::make_shared<DeviceRecord>();
  {
    Session session(SmallPolicy::parts({}, before), policy.request());
    prepare(session, policy, ids);
    const int first = before->calls;
    run(session, policy, 1, 0);
    const int last = before->calls;
    int refusals = 0, broken = 0;
    for (int n = first + 1; n <= last; ++n) {
      auto record = std::make_shared<DeviceRecord>();
      DeviceOptions options;
      options.failAt = n;
      Session again(SmallPolicy::parts(options, record), policy.request());
      const uint64_t state = prepare(again, policy, ids);
      const Failure failure = failureOf([&] { run(again, policy, state, 0); });
      if (failure.kind == FailureKind::kMemory) {
        ++refusals;
        expectResult(again, policy, state, ids, 1);
      } else {
        const Failure repeated = failureOf([&] { run(again, policy, state, 1); });
        expect(repeated.kind == FailureKind::kDevice, "a broken device to stay broken");
        expect(std::strstr(repeated.what(), "opened again") != nullptr,
               "the next step to be named");
        ++broken;
      }
    }
    expect(refusals >= 3, "allocations among the calls of a first run");
    expect(broken >= 10, "calls that break the device, found " + std::to_string(broken));
  }
}

TEST(aCaptureThatFailsCostsTheGraphAlone) {
  const SmallPolicy policy;
  for (const bool isAsked : {false, true}) {
    auto record = std::make_shared<DeviceRecord>();
    DeviceOptions options;
    (isAsked ? options.isCapturable : options.captures) = false;
    Session session(SmallPolicy::parts(options, record), policy.request());
    const auto first = policy.ids(300, 1), second = policy.ids(20, 2);
    const uint64_t a = prepare(session, policy, first), b = prepare(session, policy, second);
    const std::string reason = expectResult(session, policy, a, first, 0);
    const char* wanted = isAsked ? "cannot be captured at these sizes" : "made to fail";
    expect(reason.find(wanted) != std::string::npos, std::string(wanted) + " in: " + reason);
    for (int seed = 1; seed < 5; ++seed) {
      expect(expectResult(session, policy, a, first, seed).empty(), "it to be said once");
      expect(expectResult(session, policy, b, second, seed).empty(),
             "it to be said once for all lengths");
      const StepResult result = run(session, policy, a, seed);
      expect(!result.isFirst && result.computeMs > 0, "the times of a run without a graph");
    }
    expect(record->capturesTried == (isAsked ? 0 : 2),
           "a length to be tried once, found " + std::to_string(record->capturesTried));
    expect(record->captures == 0 && record->launches == 0, "no graph");
    session.close();
    expectClean(*record, "after captures that failed");
  }
}

TEST(aCallThatIsOnlyRefusedDoesNotEndTheSession) {
  const SmallPolicy policy;
  const auto ids = policy.ids(10, 1);
  auto before = std::make_shared<DeviceRecord>();
  Session whole(SmallPolicy::parts({}, before), policy.request());
  prepare(whole, policy, ids);
  const int first = before->calls;
  run(whole, policy, 1, 0);
  const int last = before->calls;
  int refusals = 0;
  for (int n = first + 1; n <= last; ++n) {
    auto record = std::make_shared<DeviceRecord>();
    DeviceOptions options;
    options.failAt = n;
    options.isSticky = false;
    Session session(SmallPolicy::parts(options, record), policy.request());
    const uint64_t state = prepare(session, policy, ids);
    try {
      run(session, policy, state, 0);
    } catch (const Failure&) {
      ++refusals;
    }
    for (int seed = 1; seed < 4; ++seed) expectResult(session, policy, state, ids, seed);
    session.close();
    expectClean(*record, "with call " + std::to_string(n) + " refused");
  }
  expect(refusals >= 10, "calls that are refused, found " + std::to_string(refusals));
}

TEST(enginesThatAskForNoScratchMemoryGetSome) {
  const SmallPolicy policy;
  const auto ids = policy.ids(10, 1);
  const auto without = [](const Blob& plan) {
    std::vector<uint8_t> text(plan.data, plan.data + plan.bytes);
    for (const char letter : std::string("scratch 0\n"))
      text.push_back(static_cast<uint8_t>(letter));
    return Blob::of(text);
  };
  for (const bool both : {true, false}) {
    auto record = std::make_shared<DeviceRecord>();
    SessionRequest request = policy.request();
    request.prepare.plan = without(request.prepare.plan);
    if (both) request.step.plan = without(request.step.plan);
    Session session(SmallPolicy::parts({}, record), std::move(request));
    const uint64_t state = prepare(session, policy, ids);
    for (int seed = 0; seed < 3; ++seed) expectResult(session, policy, state, ids, seed);
    expect(session.memory().bytes[static_cast<int>(MemoryUse::kScratch)] == 1 << 20,
           "1 MiB of scratch memory");
    expect(record->captures == 1, "the graph");
    session.close();
    expectClean(*record, "after engines without scratch memory");
  }
}

TEST(memoryThatIsTooSmallIsNamed) {
  const SmallPolicy policy;
  auto record = std::make_shared<DeviceRecord>();
  DeviceOptions options;
  options.capacity = 4500;
  const Failure failure =
      failureOf([&] { Session(SmallPolicy::parts(options, record), policy.request()); });
  expect(failure.kind == FailureKind::kMemory, "kMemory");
  expect(failure.needed == 512 && failure.free == 404, "512 needed and 404 free, found " +
                                                           std::to_string(failure.needed) +
                                                           " and " + std::to_string(failure.free));
  expectClean(*record, "after a refused open");
}

TEST(memoryIsAccounted) {
  const SmallPolicy policy;
  const Opened opened = open(policy);
  Session& session = *opened.session;
  const auto ids = policy.ids(10, 1);
  const uint64_t state = prepare(session, policy, ids);
  run(session, policy, state, 0);
  MemoryReport report = session.memory();
  uint64_t sum = 0;
  for (const uint64_t bytes : report.bytes) sum += bytes;
  expect(sum == opened.record->liveBytes, "the report to be all that is taken");
  expect(report.bytes[static_cast<int>(MemoryUse::kWeights)] == 1024,
         "two weights an engine, 256 each");
  expect(report.freeBytes + sum == report.totalBytes, "free and taken to be all");
  session.release(state);
  session.release(state);
  report = session.memory();
  expect(report.bytes[static_cast<int>(MemoryUse::kStates)] == 0, "a released state's memory back");
}

TEST(aThousandLives) {
  const SmallPolicy policy;
  const auto life = [&] {
    auto record = std::make_shared<DeviceRecord>();
    {
      Session session(SmallPolicy::parts({}, record), policy.request());
      const auto ids = policy.ids(10, 1);
      expectResult(session, policy, prepare(session, policy, ids), ids, 1);
    }
    expectClean(*record, "after a life");
  };
  for (int i = 0; i < 100; ++i) life();
#if !defined(__SANITIZE_ADDRESS__)
  const size_t before = mallinfo2().uordblks;
#endif
  for (int i = 0; i < 1000; ++i) life();
#if !defined(__SANITIZE_ADDRESS__)
  const size_t after = mallinfo2().uordblks;
  // less than malloc's smallest block a life; its own caches account for some
  expect(after <= before + 16 * 1000,
         "no growth in 1,000 lives, found " + std::to_string(after - before) + " bytes");
#endif
}
