/**
 * The one error class of the project. `code` is stable and may be matched by callers; the message names what was
 * looked at, what was expected, what was found, and the next step, in that order.
 */

/** Every kind of failure, one code each. Codes are never reused or renamed. */
export type ErrorCode =
  // files of a checkpoint
  | 'CHECKPOINT_NOT_FOUND'
  | 'CHECKPOINT_NOT_A_POLICY'
  | 'CHECKPOINT_FILE_MISSING'
  | 'CHECKPOINT_AMBIGUOUS'
  | 'CHECKPOINT_CHANGED'
  | 'CONFIG_INVALID'
  | 'CONFIG_UNSUPPORTED'
  | 'SAFETENSORS_INVALID'
  | 'SAFETENSORS_INDEX_INVALID'
  | 'TORCH_ARCHIVE_INVALID'
  | 'TORCH_ARCHIVE_FORBIDDEN'
  | 'TENSOR_MISSING'
  | 'TENSOR_UNEXPECTED'
  | 'TENSOR_SHAPE'
  | 'TENSOR_DTYPE'
  | 'TENSOR_NOT_FINITE'
  | 'LORA_INVALID'
  | 'STATISTICS_INVALID'
  | 'TOKENIZER_INVALID'
  | 'CACHE_UNWRITABLE'
  // what the caller passed
  | 'OPTION_UNKNOWN'
  | 'OPTION_INVALID'
  | 'OPTION_REQUIRED'
  | 'HEAD_REQUIRED'
  | 'UNNORM_KEY_REQUIRED'
  | 'UNNORM_KEY_UNKNOWN'
  | 'PLATFORM_REQUIRED'
  // observations and instructions
  | 'OBSERVATION_INVALID'
  | 'OBSERVATION_REPEATED'
  | 'EPISODE_INVALID'
  | 'DATASET_INVALID'
  | 'DATASET_UNSUPPORTED'
  | 'FEATURE_REQUIRED'
  | 'CAMERA_MISSING'
  | 'CAMERA_UNKNOWN'
  | 'CAMERA_EXCHANGED'
  | 'CAMERA_DUPLICATE'
  | 'IMAGE_INVALID'
  | 'IMAGE_DTYPE'
  | 'IMAGE_TOO_LARGE'
  | 'IMAGE_BLACK'
  | 'IMAGE_FROZEN'
  | 'NPY_INVALID'
  | 'STATE_INVALID'
  | 'INSTRUCTION_INVALID'
  | 'INSTRUCTION_TOO_LONG'
  // running
  | 'ACTION_NOT_FINITE'
  | 'ACTION_INCOMPLETE'
  | 'CHUNK_INVALID'
  | 'BACKEND_UNAVAILABLE'
  | 'ADDON_NOT_BUILT'
  | 'PACKAGE_UNAVAILABLE'
  | 'RUNTIME_FAILED'
  | 'TENSORRT_NOT_FOUND'
  | 'TENSORRT_AMBIGUOUS'
  | 'TENSORRT_UNSUPPORTED'
  | 'TENSORRT_MODULE_MISSING'
  | 'ENGINE_BUILD_FAILED'
  | 'ENGINE_AUDIT_FAILED'
  | 'ENGINE_REFUSED'
  | 'ENGINE_CHECK_FAILED'
  | 'DEVICE_OUT_OF_MEMORY'
  | 'DEVICE_FAILED'
  | 'CLOSED'
  | 'SCHEDULER_BUSY'
  | 'HOLD_UNCONFIRMED'
  | 'SUPERSEDED'
  // serving
  | 'REQUEST_INVALID'
  | 'REQUEST_TOO_LARGE'
  | 'UNAUTHORIZED'
  | 'UNNORM_KEY_OTHER'
  | 'OVERLOADED'
  | 'DRAINING'
  | 'ADDRESS_UNAVAILABLE'
  // a policy on another machine
  | 'REMOTE_UNREACHABLE'
  | 'REMOTE_FAILED'
  | 'REMOTE_CHANGED'
  | 'DEADLINE_EXCEEDED'
  // supervision
  | 'ENGINE_UNAVAILABLE'
  | 'ENGINE_LOST'
  | 'ENGINE_DEADLINE'
  // command line and tools
  | 'OUTPUT_UNWRITABLE'
  | 'OUTPUT_NO_SPACE'
  | 'STAGES_INVALID'
  | 'PROFILE_INVALID'
  | 'COMPARE_FAILED'
  | 'REPORT_INVALID'
  | 'RESULTS_INVALID'
  | 'BASELINE_INVALID'
  | 'BASELINE_REFUSED';

/** The one class of errors that this package throws. */
export class SemanticVlaError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'SemanticVlaError';
    this.code = code;
  }
}
