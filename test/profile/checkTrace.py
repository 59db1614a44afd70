"""Decodes a Perfetto trace with Perfetto's own published descriptors (PyPI's perfetto) and checks what the trace processor
relies on: known fields only, the trace's own clock or one with a snapshot, threads of different numbers, tracks defined before use, names interned before use, slices that
nest, time that does not go back within the sequence, flows with two ends. Prints a summary as JSON; exits 1 with what is wrong.

    python checkTrace.py FILE
"""

import json
import sys
from collections import defaultdict

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

CLEARED, NEEDS_STATE = 1, 2


def unknown_fields(message, path=""):
    """Fields that the descriptors do not know, or of another wire type: a wrong number would land here."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    found = [f"{path or 'Trace'}: field {field.field_number}" for field in UnknownFieldSet(message)]
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        parts = value if hasattr(value, "add") or isinstance(value, (list, tuple)) or hasattr(value, "__len__") else [value]
        for part in parts:
            found += unknown_fields(part, f"{path}/{descriptor.name}")
    return found


def check(trace):
    problems = sorted(set(unknown_fields(trace)))
    sequences = {}
    tracks = {}
    threads = set()
    depth = defaultdict(list)
    flows = defaultdict(list)
    slices = defaultdict(int)
    counters = defaultdict(int)
    names = defaultdict(int)
    last = {}
    for at, packet in enumerate(trace.packet):
        where = f"packet {at}"
        sid = packet.trusted_packet_sequence_id
        if sid == 0:
            problems.append(f"{where}: no sequence id")
        state = sequences.setdefault(sid, {"clock": None, "clocks": set(), "started": False, "iids": defaultdict(dict)})
        if packet.sequence_flags & CLEARED:
            state["iids"].clear()
            state["started"] = True
        if packet.sequence_flags & NEEDS_STATE and not state["started"]:
            problems.append(f"{where}: needs state before any was begun")
        if packet.HasField("trace_packet_defaults"):
            state["clock"] = packet.trace_packet_defaults.timestamp_clock_id
        if packet.HasField("clock_snapshot"):
            snapshot = packet.clock_snapshot
            state["clocks"] |= {clock.clock_id for clock in snapshot.clocks}
            if snapshot.primary_trace_clock not in state["clocks"]:
                problems.append(f"{where}: the primary clock is not in the snapshot")
        if packet.HasField("interned_data"):
            data = packet.interned_data
            for kind in ("event_categories", "event_names", "debug_annotation_names"):
                for entry in getattr(data, kind):
                    known = state["iids"][kind].get(entry.iid)
                    if known not in (None, entry.name) or entry.iid == 0:
                        problems.append(f"{where}: {kind} {entry.iid} is {known} and {entry.name}")
                    state["iids"][kind][entry.iid] = entry.name
            for entry in data.debug_annotation_string_values:
                state["iids"]["strings"][entry.iid] = entry.str.decode("utf8")
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            if track.uuid == 0 or track.uuid in tracks:
                problems.append(f"{where}: track {track.uuid} is 0 or defined twice")
            if track.parent_uuid and track.parent_uuid not in tracks:
                problems.append(f"{where}: parent {track.parent_uuid} is not defined")
            if track.HasField("thread"):
                thread = (track.thread.pid, track.thread.tid)
                if 0 in thread or thread in threads:
                    problems.append(f"{where}: thread {thread} is 0 or there twice")
                threads.add(thread)
                track.name = track.thread.thread_name
            tracks[track.uuid] = track
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        clock = packet.timestamp_clock_id or state["clock"]
        if clock is not None and clock not in state["clocks"]:
            problems.append(f"{where}: its clock is in no snapshot")
        if packet.timestamp < last.get(sid, 0):
            problems.append(f"{where}: time goes back")
        last[sid] = packet.timestamp
        track = tracks.get(event.track_uuid)
        if track is None:
            problems.append(f"{where}: track {event.track_uuid} is not defined")
            continue
        if not packet.sequence_flags & NEEDS_STATE:
            problems.append(f"{where}: uses interned names without saying so")
        open_slices = depth[event.track_uuid]
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            name = state["iids"]["event_names"].get(event.name_iid)
            if name is None:
                problems.append(f"{where}: name {event.name_iid} is not interned")
            for iid in event.category_iids:
                if iid not in state["iids"]["event_categories"]:
                    problems.append(f"{where}: category {iid} is not interned")
            for note in event.debug_annotations:
                if note.name_iid not in state["iids"]["debug_annotation_names"]:
                    problems.append(f"{where}: annotation {note.name_iid} is not interned")
                if note.HasField("string_value_iid") and note.string_value_iid not in state["iids"]["strings"]:
                    problems.append(f"{where}: text {note.string_value_iid} is not interned")
            open_slices.append((name, packet.timestamp))
            slices[track.name] += 1
            names[name] += 1
            for flow in event.flow_ids:
                flows[flow].append((packet.timestamp, track.name))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            if not open_slices:
                problems.append(f"{where}: an end without a begin on {track.name}")
            else:
                open_slices.pop()
        elif event.type == TrackEvent.TYPE_COUNTER:
            if not track.HasField("counter") or not event.HasField("double_counter_value"):
                problems.append(f"{where}: a counter value on a track that counts nothing")
            counters[track.name] += 1
        else:
            problems.append(f"{where}: event type {event.type}")
    for uuid, left in depth.items():
        if left:
            problems.append(f"track {tracks[uuid].name}: {len(left)} slices are never ended")
    for flow, ends in flows.items():
        if flow == 0 or len(ends) < 2:
            problems.append(f"flow {flow} has {len(ends)} ends")
    return problems, {
        "packets": len(trace.packet),
        "tracks": [track.name for track in tracks.values()],
        "slices": slices,
        "counters": counters,
        "names": names,
        "flows": {flow: sorted({name for _, name in ends}) for flow, ends in flows.items()},
    }


def main():
    trace = Trace()
    with open(sys.argv[1], "rb") as file:
        trace.ParseFromString(file.read())
    problems, summary = check(trace)
    print(json.dumps({"problems": problems[:20], **summary}))
    sys.exit(1 if problems else 0)


main()
