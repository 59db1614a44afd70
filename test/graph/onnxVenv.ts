/** Python with ONNX's own checker. */

import { join } from 'node:path';
import { type Python, pythonVenv } from '../helpers/pythonVenv.ts';

export function onnxPython(): Python {
  return pythonVenv('onnx-venv', join(import.meta.dirname, 'requirements.txt'), 'import onnx, onnxruntime');
}
