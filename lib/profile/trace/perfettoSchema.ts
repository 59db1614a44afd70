/**
 * The part of Perfetto's trace format that we write, by its public field numbers (perfetto.dev, trace_packet.proto,
 * track_event.proto, track_descriptor.proto, thread_descriptor.proto, interned_data.proto). Everything else of it is optional.
 */

import protobuf from 'protobufjs';

const schema = `
syntax = "proto2";

message Trace { repeated TracePacket packet = 1; }

message TracePacket {
  optional uint64 timestamp = 8;
  optional uint32 trusted_packet_sequence_id = 10;
  optional uint32 sequence_flags = 13;
  optional TrackEvent track_event = 11;
  optional InternedData interned_data = 12;
  optional TrackDescriptor track_descriptor = 60;
}

message TrackDescriptor {
  optional uint64 uuid = 1;
  optional string name = 2;
  optional ProcessDescriptor process = 3;
  optional ThreadDescriptor thread = 4;
  optional uint64 parent_uuid = 5;
  optional CounterDescriptor counter = 8;
}
message ProcessDescriptor { optional int32 pid = 1; optional string process_name = 6; }
message ThreadDescriptor { optional int32 pid = 1; optional int32 tid = 2; optional string thread_name = 5; }
message CounterDescriptor { optional string unit_name = 6; }

message TrackEvent {
  repeated uint64 category_iids = 3;
  repeated DebugAnnotation debug_annotations = 4;
  optional uint32 type = 9;
  optional uint64 name_iid = 10;
  optional uint64 track_uuid = 11;
  optional double double_counter_value = 44;
  repeated fixed64 flow_ids = 47;
  repeated fixed64 terminating_flow_ids = 48;
}
message DebugAnnotation {
  optional uint64 name_iid = 1;
  optional int64 int_value = 4;
  optional double double_value = 5;
  optional uint64 string_value_iid = 17;
}

message InternedData {
  repeated EventCategory event_categories = 1;
  repeated EventName event_names = 2;
  repeated DebugAnnotationName debug_annotation_names = 3;
  repeated InternedString debug_annotation_string_values = 29;
}
message EventCategory { optional uint64 iid = 1; optional string name = 2; }
message EventName { optional uint64 iid = 1; optional string name = 2; }
message DebugAnnotationName { optional uint64 iid = 1; optional string name = 2; }
message InternedString { optional uint64 iid = 1; optional bytes str = 2; }
`;

export const traceProto = protobuf.parse(schema).root.lookupType('Trace');

/** TrackEvent.Type */
export const eventType = { begin: 1, end: 2, counter: 4 } as const;
/** TracePacket.SequenceFlags */
export const sequenceFlag = { cleared: 1, needsState: 2 } as const;
