import { executors } from '#executors';
import { readDocument } from '../../../../test/e2e/documents.js';
import { partitioners } from '../partition/partitioners.js';
import { job_kinds } from './job-kinds.js';

const code = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ');

describe('docs/HXO_BLUEPRINT_CONTRACT.md', () => {
  it('says of every kind what the table of kinds says, and what of it runs', () => {
    const built = new Set(executors.map((executor) => executor.name));
    const documented = readDocument('docs/HXO_BLUEPRINT_CONTRACT.md').section('Job kinds').tables[0];
    expect(documented).toEqual(
      job_kinds.map((kind) => {
        const cutters = kind.partitioners.filter((name) => partitioners.has(name));
        const workers = kind.executors.filter((name) => built.has(name));
        const runs = cutters.length > 0 && workers.length > 0;
        return [
          code([kind.name]),
          code(kind.partitioners),
          code(kind.executors),
          `${(kind.slo_ms ?? 0) / 1000} s`,
          runs ? `${code(cutters)} with ${code(workers)}` : 'no',
        ];
      }),
    );
  });
});
