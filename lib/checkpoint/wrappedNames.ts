/**
 * What training wrappers put before and into the names of tensors: torch.compile, DistributedDataParallel, FSDP, activation
 * checkpointing, Lightning, PEFT. These wrappers change no number, so their marks are taken away; any other prefix is
 * refused by name, since nobody can tell what was wrapped.
 */

import { SemanticVlaError } from '../support/errors.ts';

/** Parts between dots that only a wrapper writes; no tensor of a policy has one. */
const marks = new Set([
  'module',
  '_orig_mod',
  '_fsdp_wrapped_module',
  '_checkpoint_wrapped_module',
  '_forward_module',
]);
/** PEFT's, before everything. */
const adapterPrefix = 'base_model.model.';

/** `module._orig_mod.model.fc1.weight` -> `model.fc1.weight`. */
export function unwrappedName(name: string): string {
  const plain = name
    .split('.')
    .filter((part) => !marks.has(part))
    .join('.');
  return plain.startsWith(adapterPrefix) ? plain.slice(adapterPrefix.length) : plain;
}

/**
 * Refuses names that begin otherwise than those of their kind of file, when a prefix before all of them explains it.
 *
 * @param names of one file or of all shards, unwrapped
 * @param begins what the first part of a name of this kind can be
 * @throws TENSOR_UNEXPECTED with file, prefix and what was expected
 */
export function refusePrefix(file: string, names: Iterable<string>, begins: readonly string[]): void {
  const all = [...names];
  if (all.length === 0) return;
  const isOwn = (part: string | undefined) => part !== undefined && begins.includes(part);
  if (all.some((name) => isOwn(name.split('.', 1)[0]))) return;
  const parts = all[0]!.split('.');
  const depth = parts.findIndex((part) => isOwn(part));
  if (depth < 1) return;
  const prefix = `${parts.slice(0, depth).join('.')}.`;
  throw new SemanticVlaError(
    'TENSOR_UNEXPECTED',
    `${file}: expected tensor names that begin with ${begins.join(', ')}, found ${JSON.stringify(prefix)} before them (${all[0]!.slice(0, 120)}). Save the state dict of the part itself, or rename: {k.removeprefix(${JSON.stringify(prefix)}): v for k, v in state.items()}.`,
  );
}
