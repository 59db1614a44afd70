"""tritonclient from PyPI, unchanged: health, metadata, inference with binary and with JSON tensors, errors.

usage: triton.py URL STATE INSTRUCTION; prints one JSON line of what came back. URL without http://.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, state, instruction = sys.argv[1:4]
client = triton.InferenceServerClient(url)
MODEL = "semanticvla"


def tensor(name, value, datatype, **how):
    made = triton.InferInput(name, list(value.shape), datatype)
    made.set_data_from_numpy(value, **how)
    return made


images = [
    tensor("full_image", np.full((224, 224, 3), 10, np.uint8), "UINT8"),
    tensor("wrist_image", np.full((224, 224, 3), 200, np.uint8), "UINT8"),
]
numbers = np.asarray(json.loads(state), np.float64)
words = np.array([instruction.encode()], np.object_)
as_bytes = images + [tensor("state", numbers, "FP64"), tensor("instruction", words, "BYTES")]
as_json = images + [
    tensor("state", numbers, "FP64", binary_data=False),
    tensor("instruction", words, "BYTES", binary_data=False),
]
asked = [triton.InferRequestedOutput("actions", binary_data=False)]
binary = client.infer(MODEL, as_bytes)
text = client.infer(MODEL, as_json, model_version="1", outputs=asked, request_id="7")
concurrent = client.async_infer(MODEL, as_bytes).get_result()


def refused(call):
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), str(error)]
    return None


errors = {
    "no camera": refused(lambda: client.infer(MODEL, as_bytes[1:])),
    "another model": refused(lambda: client.infer("other", as_bytes)),
    "another output": refused(
        lambda: client.infer(MODEL, as_bytes, outputs=[triton.InferRequestedOutput("logits")])
    ),
    "compressed": refused(lambda: client.infer(MODEL, as_bytes, request_compression_algorithm="gzip")),
    "load": refused(lambda: client.load_model("other")),
    "shared memory": refused(lambda: client.get_system_shared_memory_status()),
}
print(
    "RESULT",
    json.dumps({
        "live": client.is_server_live(),
        "ready": [
            client.is_server_ready(),
            client.is_model_ready(MODEL),
            client.is_model_ready(MODEL, "1"),
            client.is_model_ready("other"),
        ],
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(MODEL, "1"),
        "config": client.get_model_config(MODEL),
        "index": client.get_model_repository_index(),
        "count": client.get_inference_statistics(MODEL)["model_stats"][0]["inference_count"],
        "dtype": binary.as_numpy("actions").dtype.str,
        "binary": binary.as_numpy("actions").tolist(),
        "json": text.as_numpy("actions").tolist(),
        "id": text.get_response()["id"],
        "concurrent": concurrent.as_numpy("actions").tolist(),
        "errors": errors,
    }),
)
