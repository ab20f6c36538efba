import { existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { createArtifactStore, createWorkspace } from '#adapters/files';
import { executors } from '#executors';
import type { Cache, ExecutorContext, HttpClient, ReportView, StageOutput } from '#hxo';
import { sha256, type Digest } from '#truth';
import { CommandError, exit_codes, ServerUnreachable } from './exit-codes.js';
import { unpackStage, type PackSource } from './unpack-stage.js';

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
    cache: {} as Cache,
    http: {} as HttpClient,
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
function serve(changed: Readonly<Record<Digest, (bytes: Buffer) => Buffer>> = {}): PackSource {
  return {
    report: async () => ({ plan_id: 'p', outputs: [{ stage: 'pack', ...output }] }) as unknown as ReportView,
    artifact: async (digest) => {
      const bytes = await buffer(await artifacts.open(digest));
      return Readable.from([changed[digest]?.(bytes) ?? bytes]);
    },
  };
}

const into = () => join(folder, 'restored');
const digestOf = (name: string) => output.artifacts.find((artifact) => artifact.name === name)!.digest;
const refused = { exit_code: exit_codes.failed, code: 'ARTIFACT_DAMAGED' };
const unpack = (source: PackSource, stage = 'pack', folder = into()) =>
  unpackStage(source, 'p', stage, folder, (sentence) => void notes.push(sentence));
let notes: string[];
beforeEach(() => void (notes = []));

it('restores what was packed', async () => {
  expect(await unpack(serve())).toEqual({ files: 2, bytes: 11 });
  expect(await readFile(join(into(), 'a.txt'), 'utf8')).toBe('first');
  expect(await readFile(join(into(), 'b.txt'), 'utf8')).toBe('second');
});

it('refuses a blob with a changed byte', async () => {
  const flip = (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte)));
  await expect(unpack(serve({ [blob]: flip }))).rejects.toMatchObject(refused);
});

it('names the folder that it leaves incomplete, and what to do', async () => {
  const gone = serve();
  const artifact = async (digest: Digest) => {
    if (digest === blob) throw new CommandError(exit_codes.refused, 'ARTIFACT_NOT_FOUND', 'It is gone.');
    return gone.artifact(digest);
  };
  await expect(unpack({ ...gone, artifact })).rejects.toMatchObject({
    exit_code: exit_codes.refused,
    message: `It is gone. ${into()} is restored in part only. Delete that folder before you unpack again.`,
  });
});

it('downloads again what broke off, says so, and leaves no temporary file', async () => {
  const whole = serve();
  let broken = 0;
  const artifact = async (digest: Digest) => {
    if (digest !== blob || broken++ > 0) return whole.artifact(digest);
    return (async function* () {
      yield Buffer.from('half of');
      throw new ServerUnreachable('http://localhost', 'other side closed');
    })();
  };
  const temporary = () => readdirSync(tmpdir()).filter((name) => name.startsWith('hxo-download-'));
  expect(await unpack({ ...whole, artifact })).toEqual({ files: 2, bytes: 11 });
  expect(notes).toEqual([expect.stringContaining('other side closed'), 'The server is back.']);
  expect(temporary()).toEqual([]);
});

it.each(['manifest', 'packs'])(
  'refuses a %s that is not the one in the report, consistent or not',
  async (name) => {
    const longer = (bytes: Buffer) => Buffer.concat([bytes, bytes]);
    const reworded = (bytes: Buffer) =>
      Buffer.from(bytes.toString().replace('a.txt', 'z.txt').replace('gzip', 'zstd'));
    for (const change of [longer, reworded]) {
      const source = serve({ [digestOf(name)]: change });
      await expect(unpack(source)).rejects.toMatchObject(refused);
      expect(existsSync(into())).toBe(false);
    }
  },
);

it('says which stages have packs, and wants an empty folder', async () => {
  await expect(unpack(serve(), 'other')).rejects.toMatchObject({
    exit_code: exit_codes.usage,
  });
  await expect(unpack(serve(), 'pack', folder)).rejects.toThrow('not empty');
  await expect(unpack(serve(), 'pack', folder)).rejects.toMatchObject({ exit_code: exit_codes.usage });
});

it('says in words that a file or a link to nowhere is no folder', async () => {
  const taken = join(folder, 'taken');
  writeFileSync(taken, '');
  const dangling = join(folder, 'dangling');
  symlinkSync('nowhere', dangling);
  for (const [none, why] of [
    [taken, 'it is no folder'],
    [join(taken, 'x'), 'what it is in is no folder'],
    [dangling, 'it is a link to what is not there'],
  ] as const) {
    await expect(unpack(serve(), 'pack', none)).rejects.toMatchObject({
      exit_code: exit_codes.usage,
      message: `${none} cannot be used: ${why}. Name another folder.`,
    });
  }
});

it('makes the folders around the one that is named, and ends where the system makes none', async () => {
  await expect(unpack(serve(), 'pack', join(into(), 'a', 'b'))).resolves.toMatchObject({ files: 2 });
  for (const none of [join(process.execPath, 'x'), ...(process.platform === 'linux' ? ['/proc/x/y'] : [])])
    await expect(unpack(serve(), 'pack', none)).rejects.toMatchObject({
      exit_code: exit_codes.usage,
      message: expect.stringMatching(/cannot be used: .*Name another folder\.$/) as string,
    });
});
