import {
  canonicalJson,
  type CollectedShard,
  type ExecutorContext,
  type Json,
  type StageOutput,
} from '#hxo/execute';
import { parseInputs } from './inputs.js';

/**
 * Counts what was applied, and writes the artifact `ledger`: one line of JSON for each batch or file, in order. The stage's
 * digest is the artifact's. A preflight is no part of either.
 */
export async function collect(
  results: AsyncIterable<CollectedShard>,
  { artifacts, signal }: ExecutorContext,
): Promise<StageOutput> {
  const counts = { batches: 0, files: 0, rows: 0 };
  let dry_run = false;
  async function* lines(): AsyncGenerator<Uint8Array> {
    for await (const { inputs: json, input_digests, value } of results) {
      signal.throwIfAborted();
      const inputs = parseInputs(json);
      if (inputs.type === 'preflight' || (inputs.type === 'batch' && inputs.preflight)) continue;
      dry_run ||= inputs.options.dry_run;
      const { rows } = value as { readonly rows: number };
      counts.rows += rows;
      counts[inputs.type === 'batch' ? 'batches' : 'files']++;
      const line: Json =
        inputs.type === 'batch'
          ? { from: inputs.from as Json, to: inputs.to as Json, rows }
          : { file: inputs.files[0]!.name, sha256: input_digests[0]!, rows };
      yield Buffer.from(`${canonicalJson(line)}\n`);
    }
  }
  const ledger = await artifacts.put(lines());
  const { batches, files, rows } = counts;
  const value: Json = files > 0 ? { files, rows, dry_run } : { batches, rows, dry_run };
  return { digest: ledger.digest, value, artifacts: [{ name: 'ledger', ...ledger }] };
}
