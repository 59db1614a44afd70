/** Names of checkpoints on a hub: `hf:owner/name`, with `@revision` if it is not the main branch. */

import { SemanticVlaError } from '../support/errors.ts';

/** A repository and one of its branches, tags or commits. */
export interface HubName {
  /** `owner/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit; `main` if the name has none. */
  readonly revision: string;
}

const scheme = 'hf:';
/** What the hub allows: letters, digits, `-`, `_`, `.`; neither `-` nor `.` doubled or at an end. */
const part = /^(?![-.])(?!.*(--|\.\.))[A-Za-z0-9._-]{1,96}(?<![-.])$/;
/** Names of git branches and tags, without what git refuses in them. */
const revision = /^(?![/.-])(?!.*(\.\.|\/\/|@\{|\/\.|\.lock(\/|$)))[^\s~^:?*[\\\p{Cc}]{1,200}(?<![/.])$/u;

/** Whether this names a repository at a hub, and not a folder. */
export function isHubName(name: string): boolean {
  return name.startsWith(scheme);
}

/** @throws OPTION_INVALID */
export function parseHubName(name: string): HubName {
  const [, repo = '', , stated] = /^hf:([^@]*)(@(.*))?$/su.exec(name) ?? [];
  const parts = repo.split('/');
  if (parts.length === 2 && parts.every((each) => part.test(each)) && !repo.endsWith('.git')) {
    if (stated === undefined) return { repo, revision: 'main' };
    if (revision.test(stated)) return { repo, revision: stated };
  }
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Expected the name of a repository like hf:owner/name or hf:owner/name@revision, found ${JSON.stringify(name.slice(0, 200))}.`,
  );
}

export function inWords({ repo, revision: given }: HubName): string {
  return given === 'main' ? `${scheme}${repo}` : `${scheme}${repo}@${given}`;
}

/** A commit identifies the contents of a repository for ever; anything else may move. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}
