import { canonicalJson, type Digest } from '#hxo/execute';
import { isPut, type ContentInputs } from './inputs.js';

/*
 * What a shard's output digest commits to, as lines of canonical JSON, each ended by a line feed: what was primed, and
 * nothing of how that went.
 *
 *     {"bytes":120,"path":"src/a.ts","primed":true,"sha256":"…"}
 *     {"method":"GET","primed":true,"url":"https://app.example.com/guide"}
 */

export function contentList(inputs: ContentInputs, digests: readonly Digest[]): string {
  return linesOf(
    inputs.files.map(({ path, bytes }, i) => ({
      ...{ path, bytes, sha256: digests[i]! },
      primed: isPut(inputs, { bytes }),
    })),
  );
}

/** A shard with a URL that is not primed has no result: all that are listed are. */
export function urlList(method: 'GET' | 'HEAD', urls: readonly string[]): string {
  return linesOf(urls.map((url) => ({ method, primed: true, url })));
}

export function linesOf(rows: readonly object[]): string {
  return rows.map((row) => `${canonicalJson(row)}\n`).join('');
}
