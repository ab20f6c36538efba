/** Longest line, a pack's in a manifest: 4,096 files with the longest paths that Linux knows, and room to spare. */
const line_bytes_max = 32 * 1024 * 1024;

/**
 * The lines of a UTF-8 text, each of which must end in a line feed. `fail` makes the error for a text that is too long
 * in one line, not UTF-8, or cut short.
 */
export async function* linesOf(
  text: AsyncIterable<Uint8Array>,
  fail: (why: string) => Error,
): AsyncGenerator<string> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of text) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      yield decode([...held, chunk.subarray(start, end)], fail);
      held = [];
      bytes = 0;
      start = end + 1;
    }
    held.push(chunk.subarray(start));
    bytes += chunk.length - start;
    if (bytes > line_bytes_max) throw fail('has a line that is too long');
  }
  if (bytes > 0) throw fail('ends in the middle of a line');
}

function decode(pieces: readonly Uint8Array[], fail: (why: string) => Error): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces));
  } catch {
    throw fail('is not UTF-8');
  }
}
