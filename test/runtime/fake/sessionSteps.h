#pragma once

#include "fixture.h"

/// Steps that the session tests share: opening, preparing, running, and all of it in one.

namespace fake {

struct Opened {
  std::shared_ptr<DeviceRecord> record = std::make_shared<DeviceRecord>();
  std::unique_ptr<Session> session;
};

inline Opened open(const SmallPolicy& policy, const DeviceOptions& options = {}) {
  Opened opened;
  opened.session =
      std::make_unique<Session>(SmallPolicy::parts(options, opened.record), policy.request());
  return opened;
}

inline uint64_t prepare(Session& session, const SmallPolicy& policy,
                        const std::vector<int64_t>& ids) {
  return session.prepare(SmallPolicy::prepareInputs(ids, policy.text)).id;
}

inline StepResult run(Session& session, const SmallPolicy& policy, uint64_t state, int seed) {
  const auto images = policy.images(seed);
  const auto proprio = policy.proprio(seed);
  return session.run(state, session.stage(SmallPolicy::stepInputs(images, proprio), {}, {}));
}

/// Returns why this call, and no other before it, had no graph.
inline std::string expectResult(Session& session, const SmallPolicy& policy, uint64_t state,
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
inline std::string wholeLife(const SmallPolicy& policy, const DeviceOptions& options,
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

}  // namespace fake
