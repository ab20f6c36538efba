import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { createArtifactStore, createWorkspace } from '#adapters/files';
import { executors } from '#executors';
import type { ExecutorContext, ReportView, StageOutput } from '#hxo';
import { sha256, type Digest } from '#truth';
import { exit_codes } from './exit-codes.js';
import { unpackStage, type ArtifactSource } from './unpack-stage.js';

let folder: string;
let output: StageOutput;
let blob: Digest;
let artifacts: ReturnType<typeof createArtifactStore>;

/** Packs two real files with the real executor. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hxo-unpack-'));
  artifacts = createArtifactStore(join(folder, 'artifacts'));
  await writeFile(join(folder, 'a.txt'), 'first');
  await writeFile(join(folder, 'b.txt'), 'second');
  const context: ExecutorContext = {
    artifacts,
    workspace: createWorkspace({ root: folder, forbidden: [join(folder, 'artifacts')] }),
    signal: new AbortController().signal,
    log: () => undefined,
  };
  const packBackend = executors.find(({ name }) => name === 'pack_backend');
  const inputs = {
    root: '.',
    files: [
      ['a.txt', 5, 0],
      ['b.txt', 6, 0],
    ],
  };
  const input_digests = [sha256('first'), sha256('second')];
  const packed = await packBackend!.run(
    { ordinal: 0, inputs: packBackend!.parse(inputs), input_digests, attempt: 1 },
    context,
  );
  blob = packed.artifacts![0]!.digest;
  const shard = { ordinal: 0, inputs, input_digests, digest: packed.digest!, value: packed.value };
  output = await packBackend!.collect!(Readable.from([shard]), context);
});
afterEach(() => rm(folder, { recursive: true }));

/** A server that holds these artifacts, some of them changed on the way. */
function serve(changed: Readonly<Record<Digest, (bytes: Buffer) => Buffer>> = {}): ArtifactSource {
  return {
    report: async () => ({ plan_id: 'p', outputs: [{ stage: 'pack', ...output }] }) as unknown as ReportView,
    artifact: async (digest) => {
      const bytes = await buffer(await artifacts.open(digest as Digest));
      return Readable.from([changed[digest as Digest]?.(bytes) ?? bytes]);
    },
  };
}

const into = () => join(folder, 'restored');
const digestOf = (name: string) => output.artifacts.find((artifact) => artifact.name === name)!.digest;
const refused = { exit_code: exit_codes.failed, code: 'UNPACK_FAILED' };

it('restores what was packed', async () => {
  expect(await unpackStage(serve(), 'p', 'pack', into())).toEqual({ files: 2, bytes: 11 });
  expect(await readFile(join(into(), 'a.txt'), 'utf8')).toBe('first');
  expect(await readFile(join(into(), 'b.txt'), 'utf8')).toBe('second');
});

it('refuses a blob with a changed byte', async () => {
  const flip = (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte)));
  await expect(unpackStage(serve({ [blob]: flip }), 'p', 'pack', into())).rejects.toMatchObject(refused);
});

it.each(['manifest', 'packs'])(
  'refuses a %s that is not the one in the report, consistent or not',
  async (name) => {
    const longer = (bytes: Buffer) => Buffer.concat([bytes, bytes]);
    const reworded = (bytes: Buffer) =>
      Buffer.from(bytes.toString().replace('a.txt', 'z.txt').replace('gzip', 'zstd'));
    for (const change of [longer, reworded]) {
      const source = serve({ [digestOf(name)]: change });
      await expect(unpackStage(source, 'p', 'pack', into())).rejects.toMatchObject(refused);
      await rm(into(), { recursive: true });
    }
  },
);

it('says which stages have packs, and wants an empty folder', async () => {
  await expect(unpackStage(serve(), 'p', 'other', into())).rejects.toMatchObject({
    exit_code: exit_codes.usage,
  });
  await expect(unpackStage(serve(), 'p', 'pack', folder)).rejects.toThrow('not empty');
});
