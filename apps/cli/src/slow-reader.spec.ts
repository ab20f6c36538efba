import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createArtifactStore } from '#adapters/files';
import { executors } from '#executors';
import type { Cache, CollectedShard, ExecutorContext, HttpClient, StageOutput } from '#hxo';
import { sha256, type Digest } from '#truth';
import { HxoClient } from './client.js';
import { unpackStage } from './unpack-stage.js';

/** A server closes connections that stand still for so long. Restoring takes many times that. */
const keep_alive_ms = 50;
const restoring_one_pack_ms = 100;
const packs_count = 12;
const files_per_pack = 40;
/** Long paths make a manifest of more than a megabyte: more than what fits between server and reader. */
const long_path = `${'x'.repeat(240)}/`.repeat(14);

let folder: string;
let output: StageOutput;
let server: Server;
let client: HxoClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hxo-slow-'));
  const artifacts = createArtifactStore(join(folder, 'artifacts'));
  output = await packStage({
    artifacts,
    workspace: {
      list: async () => [],
      read: async function* () {
        yield Buffer.from('x');
      },
      digest: async () => sha256('x'),
    },
    cache: {} as Cache,
    http: {} as HttpClient,
    signal: new AbortController().signal,
    log: () => undefined,
  });
  server = createServer((request, response) => {
    const asked = (request.url ?? '').split('/').at(-1) as Digest;
    const answer = async (): Promise<Buffer> => {
      if (asked === 'p') return Buffer.from(JSON.stringify({ outputs: [{ stage: 'pack', ...output }] }));
      if (output.artifacts.every(({ digest }) => digest !== asked)) await sleep(restoring_one_pack_ms);
      return buffer(await artifacts.open(asked));
    };
    void answer().then((body) => response.setHeader('content-length', body.length).end(body));
  });
  server.keepAliveTimeout = keep_alive_ms;
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  client = new HxoClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  await rm(folder, { recursive: true });
});

async function packStage(context: ExecutorContext): Promise<StageOutput> {
  const packBackend = executors.find(({ name }) => name === 'pack_backend')!;
  const shards: CollectedShard[] = [];
  for (let ordinal = 0; ordinal < packs_count; ordinal++) {
    const files = Array.from({ length: files_per_pack }, (_, i) => [`${long_path}${ordinal}-${i}`, 1, 0]);
    const given = { ordinal, input_digests: files.map(() => sha256('x')) };
    const inputs = { root: '.', files };
    const { digest, value } = await packBackend.run(
      { ...given, inputs: packBackend.parse(inputs), attempt: 1 },
      context,
    );
    shards.push({ ...given, inputs, digest: digest!, value });
  }
  return packBackend.collect!(Readable.from(shards), context);
}

it('restores in its own time, however soon the server closes idle connections', async () => {
  const notes: string[] = [];
  const into = join(folder, 'restored');
  const restored = await unpackStage(client, 'p', 'pack', into, (sentence) => void notes.push(sentence));
  const files = packs_count * files_per_pack;
  expect({ ...restored, notes }).toEqual({ files, bytes: files, notes: [] });
});
