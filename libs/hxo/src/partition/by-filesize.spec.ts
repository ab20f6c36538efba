import { sha256 } from '#truth';
import type { Digest, Json } from '#truth';
import type { FileRange, Workspace, WorkspaceFile } from '../execute/workspace.js';
import { byFilesize } from './by-filesize.js';
import { casId } from './cas.js';
import { ConfigError } from '../plan/stage-config.js';
import type { PartitionSummary, ShardDraft } from './contract.js';
import { partitioners } from './partitioners.js';

/** A workspace in memory. */
class FakeWorkspace implements Workspace {
  constructor(private readonly texts: ReadonlyMap<string, string>) {}
  async list(): Promise<WorkspaceFile[]> {
    return [...this.texts].map(([path, text]) => ({
      path,
      bytes: text.length,
      executable: path.endsWith('.sh'),
    }));
  }
  async *read(file: { path: string; offset: number; length: number }): AsyncGenerator<Uint8Array> {
    yield Buffer.from(this.texts.get(file.path)!.slice(file.offset, file.offset + file.length));
  }
  async digest({ path, offset, length }: FileRange): Promise<Digest> {
    return sha256(this.texts.get(path)!.slice(offset, offset + length));
  }
}

async function run(
  texts: Record<string, string>,
  config: Record<string, Json> = {},
): Promise<{ drafts: ShardDraft[]; summary: PartitionSummary }> {
  const shards = byFilesize.partition(byFilesize.parse(config), {
    workspace: new FakeWorkspace(new Map(Object.entries(texts))),
  });
  const drafts: ShardDraft[] = [];
  for (let next = await shards.next(); ; next = await shards.next()) {
    if (next.done) return { drafts, summary: next.value };
    drafts.push(next.value);
  }
}

describe('by_filesize', () => {
  it('fills defaults', () => {
    expect(byFilesize.parse({})).toEqual({
      root: '.',
      include: [],
      exclude: [],
      gitignore: true,
      total_files: null,
      chunk_size_mb: 10,
    });
    expect(byFilesize.parse({ root: './src//x/', chunk_size_mb: 0.5 })).toMatchObject({
      root: 'src/x',
      chunk_size_mb: 0.5,
    });
  });

  it.each<[string, Json]>([
    ['chunk_size', 3],
    ['chunk_size_mb', 0],
    ['chunk_size_mb', -1],
    ['chunk_size_mb', 1e-9],
    ['chunk_size_mb', 1e300],
    ['chunk_size_mb', '10'],
    ['chunk_size_mb', null],
    ['total_files', 0],
    ['total_files', 1.5],
    ['total_files', null],
    ['root', '../x'],
    ['root', '/x'],
    ['root', 7],
    ['include', 'src'],
    ['exclude', ['']],
    ['gitignore', 'yes'],
  ])('refuses %s = %j, naming the field', (field, value) => {
    expect(() => byFilesize.parse({ [field]: value })).toThrow(ConfigError);
    expect(() => byFilesize.parse({ [field]: value })).toThrow(field);
  });

  it('makes compact inputs with the digest of all that a shard reads', async () => {
    const { drafts, summary } = await run(
      { 'a.ts': 'aaaa', 'b.sh': 'bb', 'c.bin': '0123456789ABC', empty: '' },
      { chunk_size_mb: 0.00001 },
    );
    expect(drafts).toEqual([
      {
        wave: 0,
        weight: 6,
        inputs: { root: '.', files: [['a.ts', 4, 0], ['b.sh', 2, 1]] },
        input_digests: [sha256('aaaa'), sha256('bb')],
      },
      { wave: 0, weight: 10, inputs: { root: '.', part: ['c.bin', 13, 0, 0, 10] }, input_digests: [sha256('0123456789')] },
      { wave: 0, weight: 3, inputs: { root: '.', part: ['c.bin', 13, 0, 10, 3] }, input_digests: [sha256('ABC')] },
      { wave: 0, weight: 1, inputs: { root: '.', files: [['empty', 0, 0]] }, input_digests: [sha256('')] },
    ]); // prettier-ignore
    expect(summary).toEqual({ matched: 4, taken: 4, truncated: 0 });
  });

  it('says what total_files left out, and makes nothing of nothing', async () => {
    const texts = { a: '1', b: '2', c: '3' };
    expect((await run(texts, { total_files: 2 })).summary).toEqual({ matched: 3, taken: 2, truncated: 1 });
    expect(await run({})).toEqual({ drafts: [], summary: { matched: 0, taken: 0, truncated: 0 } });
  });

  it('is in the list', () => {
    expect(partitioners.get('by_filesize')).toBe(byFilesize);
  });
});

describe('casId', () => {
  const content = {
    kind: 'deploy.pack',
    executor: 'pack_backend',
    executor_version: '1',
    inputs: { b: 1, a: [2] },
    input_digests: [sha256('x')],
    dependency_digests: [],
  };

  it('is the SHA-256 of the canonical JSON, whatever the order of keys', () => {
    const text = `{"dependency_digests":[],"executor":"pack_backend","executor_version":"1","input_digests":["${sha256('x')}"],"inputs":{"a":[2],"b":1},"kind":"deploy.pack","v":1}`;
    expect(casId(content)).toBe(sha256(text));
    expect(casId({ ...content, inputs: { a: [2], b: 1 } })).toBe(sha256(text));
  });

  it('changes with every part', () => {
    const others = [
      { ...content, kind: 'x' },
      { ...content, executor: 'x' },
      { ...content, executor_version: '2' },
      { ...content, inputs: {} },
      { ...content, input_digests: [] },
      { ...content, dependency_digests: [sha256('y')] },
    ];
    expect(new Set([content, ...others].map(casId)).size).toBe(7);
  });
});
