import type { Bundle, LeaseRef, OutcomeBatch } from '#hxo/execute';

/**
 * Bundles and reports as texts: a line of JSON, then what may be long (shard lines, outcomes) as it is. So that neither is
 * parsed, nor its quotes escaped, where nobody looks at it.
 */

/** What a worker tells the engine. */
export type Report =
  | ({ readonly type: 'started'; readonly worker: string } & LeaseRef)
  | ({ readonly type: 'heartbeat' } & LeaseRef)
  | ({ readonly type: 'lost'; readonly reason: string } & LeaseRef)
  | ({ readonly type: 'refused'; readonly reason: string } & LeaseRef)
  | ({ readonly type: 'outcomes' } & OutcomeBatch);

/** A bundle on its way: `workspace` is the fingerprint of the one that its plan was made of. */
export type SentBundle = Bundle & { readonly workspace: string };

export function printBundle(bundle: SentBundle): string {
  const { work } = bundle;
  if (work.type === 'collect') return print(bundle, '');
  return print({ ...bundle, work: { type: 'shards', ordinals: work.ordinals } }, work.lines);
}

/** Throws when the text is not one that {@link printBundle} made. */
export function parseBundle(text: string): SentBundle {
  const [head, lines] = parse<SentBundle>(text);
  return head.work.type === 'collect' ? head : { ...head, work: { ...head.work, lines } };
}

export function printReport(report: Report): string {
  if (report.type !== 'outcomes') return print(report, '');
  const { outcomes, ...head } = report;
  return print(head, outcomes);
}

/** Throws when the text is not one that {@link printReport} made. */
export function parseReport(text: string): Report {
  const [head, outcomes] = parse<Report>(text);
  return head.type === 'outcomes' ? { ...head, outcomes } : head;
}

function print(head: object, rest: string): string {
  return `${JSON.stringify(head)}\n${rest}`;
}

function parse<T>(text: string): [T, string] {
  const end = text.indexOf('\n');
  return [JSON.parse(text.slice(0, end)) as T, text.slice(end + 1)];
}
