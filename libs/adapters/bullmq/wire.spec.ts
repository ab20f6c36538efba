import { printOutcomes, sha256 } from '#hxo/execute';
import { parseBundle, parseReport, printBundle, printReport, type Report, type SentBundle } from './wire.js';

const head = {
  ...{
    plan_id: 'p',
    bundle: 7,
    attempt: 2,
    stage: 'pack',
    executor: 'e',
    executor_version: '1',
    reads_files: true,
  },
  ...({ isolation: 'thread', concurrency: 1, shard_timeout_ms: 500, workspace: 'w' } as const),
};
const lease = { plan_id: 'p', bundle: 7, attempt: 2 };

it.each<SentBundle>([
  { ...head, work: { type: 'shards', ordinals: [3, 4], lines: '1\t\t{"a":1}\n1\t\t"\\n"\n' } },
  { ...head, work: { type: 'collect', results: sha256('results') } },
])('carries a bundle of $work.type', (bundle) => expect(parseBundle(printBundle(bundle))).toEqual(bundle));

const failed = {
  ordinal: 1,
  status: 'failed',
  verdict: 'retry',
  code: 'C',
  message: 'a\nb',
  duration_ms: 1,
} as const;
it.each<Report>([
  { type: 'started', ...lease, worker: 'thread-1@host' },
  { type: 'heartbeat', ...lease },
  { type: 'lost', ...lease, reason: 'killed\nfor good' },
  { type: 'refused', ...lease, reason: 'another workspace' },
  { type: 'outcomes', ...lease, worker: 'w', outcomes: printOutcomes([failed]), final: true },
  { type: 'outcomes', ...lease, worker: 'w', outcomes: '', final: false },
])('carries a report of type $type', (report) => expect(parseReport(printReport(report))).toEqual(report));

it.each(['', 'no line', '{"cut\n'])('refuses %j', (text) => {
  expect(() => parseBundle(text)).toThrow(SyntaxError);
  expect(() => parseReport(text)).toThrow(SyntaxError);
});
