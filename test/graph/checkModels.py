"""Checks exported models with ONNX's own tools: reads jobs as JSON from stdin, prints one JSON object a job.

A job: `folder` with instruction.onnx and policy.onnx, `samples` (inputs of each model by name as flat lists, and the
reference's normalized actions).
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def check(path: Path) -> list[str]:
    """ONNX's checker and strict shape inference; returns values whose type or rank stays unknown."""
    onnx.checker.check_model(str(path), full_check=True)
    # refuses weights that are links, or have several names
    onnx.load(str(path))
    inferred = path.with_suffix(".inferred")
    try:
        onnx.shape_inference.infer_shapes_path(
            str(path), str(inferred), check_type=True, strict_mode=True, data_prop=True
        )
        graph = onnx.load(str(inferred), load_external_data=False).graph
    finally:
        inferred.unlink(missing_ok=True)
    known = {value.name for value in graph.value_info if value.type.tensor_type.HasField("shape")}
    known |= {value.name for value in graph.output}
    return [name for node in graph.node for name in node.output if name and name not in known]


def run(session: onnxruntime.InferenceSession, given: dict) -> dict:
    """Feeds flat lists in the shape and type that the model declares, symbols filled by length."""
    types = {"tensor(int64)": np.int64, "tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(bool)": bool}
    feed = {}
    for value in session.get_inputs():
        array = np.asarray(given[value.name], dtype=types[value.type])
        if array.ndim == 1:
            array = array.reshape([size if isinstance(size, int) else -1 for size in value.shape])
        feed[value.name] = array
    outputs = [value.name for value in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, feed)))


def check_job(job: dict) -> dict:
    folder = Path(job["folder"])
    files = {name: folder / f"{name}.onnx" for name in ("instruction", "policy")}
    unknown = {name: check(file) for name, file in files.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        name: onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for name, file in files.items()
    }
    differences = []
    for sample in job["samples"]:
        frame = {**sample["policy"]}
        frame["images"] = np.frombuffer(Path(sample["images"]).read_bytes(), np.uint8)
        state = run(sessions["instruction"], sample["instruction"])
        actions = run(sessions["policy"], {**state, **frame})["actions"]
        differences.append(float(np.abs(actions.ravel() - np.asarray(sample["normalized"])).max()))
    return {"unknown": unknown, "differences": differences}


for line in sys.stdin:
    try:
        answer = check_job(json.loads(line))
    except Exception as error:  # the test names it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
