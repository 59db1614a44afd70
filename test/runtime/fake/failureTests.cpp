#include <malloc.h>

#include <cstring>

#include "sessionSteps.h"

/// The session on a device without a GPU: every call failing once, and its memory.

using namespace fake;

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
