import { mkdir, readdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Extract, Header } from 'tar-stream';
import { sha256Stream, type Digest } from '#hxo/execute';
import { linesOf } from '../lines.js';
import { entryName } from './tar.js';
import {
  countPack,
  manifest_header,
  packs_header,
  parseManifestLine,
  parsePacksLine,
  type ManifestPack,
  type PackBlob,
  type PackCounts,
} from './manifest.js';
import { Restorer, damaged } from './restore.js';
import { FolderUnusable, UnpackError } from './unpack-error.js';

export { FolderUnusable, UnpackError } from './unpack-error.js';

/** Beside its bytes an entry takes a header, at most two pax blocks with its name, and padding. */
const entry_overhead_bytes_max = 16 * 1024;
const tar_end_bytes = 1024;

export interface UnpackOptions {
  /** The stage's artifact `manifest`; whoever calls has compared its digest with the certificate's. */
  readonly manifest: AsyncIterable<Uint8Array>;
  /** The stage's artifact `packs`. */
  readonly packs: AsyncIterable<Uint8Array>;
  /** Opens a blob by digest; called twice for each. */
  readonly open: (blob: Digest) => Promise<AsyncIterable<Uint8Array>>;
  /** A folder that is empty or does not exist. */
  readonly into: string;
  /** Called after each file (or range of one) that was restored and verified. */
  readonly onFile?: (path: string, bytes: number) => void;
  /** Refuse to write more than this; no limit when left out. */
  readonly limits?: { readonly files?: number; readonly bytes?: number };
}

export interface Unpacked {
  readonly files: number;
  readonly bytes: number;
}

/**
 * Restores the files of a pack stage and verifies all on the way: each blob's digest before it is opened, each tar's,
 * and each file's length and SHA-256. Only what the manifest names is written, as regular files with mode 644 or 755.
 * Memory does not grow with the number or size of the files.
 *
 * Throws {@link FolderUnusable} before it writes a file; later {@link UnpackError}, naming file and pack: the folder is then
 * incomplete.
 */
export async function unpack(options: UnpackOptions): Promise<Unpacked> {
  await makeEmptyFolder(options.into);
  const files = new Restorer(options.into);
  const blobs = linesOf(options.packs, (why) => badArtifact('packs', why));
  if ((await blobs.next()).value !== packs_header) throw badArtifact('packs', 'does not begin as one');
  let counts: PackCounts = { files: 0, bytes: 0, packs: 0 };
  for await (const pack of packsOf(options.manifest)) {
    if (isCounts(pack)) {
      if (!(await blobs.next()).done) throw badArtifact('packs', 'names more packs than the manifest');
      files.finish();
      return checkedCounts(counts, pack);
    }
    const blob = parsePacksLine(String((await blobs.next()).value));
    if (blob?.tar !== pack.tar)
      throw badArtifact('packs', `has not pack ${pack.tar} where the manifest has it`);
    counts = countPack(counts, pack.entries);
    checkLimits(counts, options);
    await verifyBlob(blob, options);
    await unpackTar(pack, blob, files, options);
  }
  throw badArtifact('manifest', 'is cut short');
}

async function makeEmptyFolder(folder: string): Promise<void> {
  let names: string[];
  try {
    await makeFolder(resolve(folder));
    names = await readdir(folder);
  } catch (error) {
    const why = whyUnusable(error as NodeJS.ErrnoException);
    throw new FolderUnusable(`${folder} cannot be used: ${why}. Name another folder.`, { cause: error });
  }
  if (names.length > 0)
    throw new FolderUnusable(`${folder} is not empty. Name a folder that is empty or does not exist.`);
}

/** Of a name that is taken, listing tells: ENOTDIR for what is no folder, ENOENT for a link to what is not there. */
function whyUnusable({ code, syscall, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOTDIR') return syscall === 'scandir' ? 'it is no folder' : 'what it is in is no folder';
  if (code === 'ENOENT' && syscall === 'scandir') return 'it is a link to what is not there';
  return message;
}

/** Makes a folder and those around it. Not by Node's own recursion: that never ends where nothing can be made, as in /proc. */
async function makeFolder(folder: string): Promise<void> {
  const make = (): Promise<void> =>
    mkdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  try {
    await make();
  } catch (error) {
    const around = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || around === folder) throw error;
    await makeFolder(around);
    await make();
  }
}

/** The manifest's packs, and its closing counts as the last item. */
async function* packsOf(manifest: AsyncIterable<Uint8Array>): AsyncGenerator<ManifestPack | PackCounts> {
  const lines = linesOf(manifest, (why) => badArtifact('manifest', why));
  if ((await lines.next()).value !== manifest_header) throw badArtifact('manifest', 'does not begin as one');
  for await (const line of lines) {
    const pack = parseManifestLine(line);
    if (pack === null)
      throw badArtifact('manifest', `has a line that is none of its own: ${line.slice(0, 80)}`);
    yield pack;
  }
}

function isCounts(pack: ManifestPack | PackCounts): pack is PackCounts {
  return 'packs' in pack;
}

function checkedCounts(counted: PackCounts, claimed: PackCounts): Unpacked {
  const { files, bytes, packs } = counted;
  if (files !== claimed.files || bytes !== claimed.bytes || packs !== claimed.packs) {
    throw badArtifact('manifest', 'counts other files than it names');
  }
  return { files, bytes };
}

function checkLimits({ files, bytes }: PackCounts, { limits }: UnpackOptions): void {
  if (files <= (limits?.files ?? Infinity) && bytes <= (limits?.bytes ?? Infinity)) return;
  throw new UnpackError(
    'The packs hold more than the limits allow. Raise the limits if you trust the manifest.',
  );
}

/** Nothing of a blob is decompressed before all of it proved to be the one that was stored. */
async function verifyBlob(blob: PackBlob, { open }: UnpackOptions): Promise<void> {
  const hash = sha256Stream();
  let bytes = 0;
  for await (const chunk of await open(blob.blob)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  if (bytes !== blob.bytes || hash.digest() !== blob.blob) {
    throw new UnpackError(
      `Blob ${blob.blob} of pack ${blob.tar} is damaged: its bytes have another SHA-256. Submit the plan again.`,
    );
  }
}

async function unpackTar(
  pack: ManifestPack,
  blob: PackBlob,
  files: Restorer,
  options: UnpackOptions,
): Promise<void> {
  // Loaded here, because every pool member loads this file and none unpacks.
  const { extract } = await import('tar-stream');
  const tar = extract();
  const hash = sha256Stream();
  const bytes_max = pack.entries.reduce(
    (sum, { length }) => sum + length + entry_overhead_bytes_max,
    tar_end_bytes,
  );
  const feeding = pipeline(
    await options.open(blob.blob),
    createGunzip(),
    async function* (blocks: AsyncIterable<Buffer>) {
      let bytes = 0;
      for await (const block of blocks) {
        hash.update(block);
        bytes += block.length;
        if (bytes > bytes_max) throw badPack(pack, 'is larger than what the manifest names');
        yield block;
      }
    },
    tar,
  );
  try {
    await Promise.all([feeding, writeEntries(pack, tar, files, options)]);
  } catch (error) {
    tar.destroy();
    await feeding.catch(() => undefined);
    throw error instanceof UnpackError ? error : badPack(pack, `cannot be read (${String(error)})`, error);
  }
  if (hash.digest() !== pack.tar) throw badPack(pack, 'has another SHA-256 than the manifest says');
}

/** Each entry must be the one that the manifest has next; the tar decides nothing. */
async function writeEntries(
  pack: ManifestPack,
  tar: Extract,
  files: Restorer,
  options: UnpackOptions,
): Promise<void> {
  let next = 0;
  for await (const stream of tar) {
    const expected = pack.entries[next++];
    if (expected === undefined || !isEntry(stream.header, entryName(expected, pack.part), expected.length)) {
      throw badPack(
        pack,
        `holds ${JSON.stringify(stream.header.name)}, which the manifest does not have there`,
      );
    }
    // A streamx stream iterates, though its types do not say so.
    await files.write(expected, stream as unknown as AsyncIterable<Uint8Array>, pack.tar);
    options.onFile?.(expected.path, expected.length);
  }
  const missing = pack.entries[next];
  if (missing !== undefined) throw damaged(missing.path, pack.tar, 'is missing');
}

function isEntry(header: Header, name: string, bytes: number): boolean {
  return header.type === 'file' && header.name === name && header.size === bytes;
}

function badPack(pack: ManifestPack, why: string, cause?: unknown): UnpackError {
  return new UnpackError(`Pack ${pack.tar} ${why}. Submit the plan again.`, { cause });
}

function badArtifact(name: 'manifest' | 'packs', why: string): UnpackError {
  return new UnpackError(`The artifact "${name}" ${why}. Get it again from the plan's certificate.`);
}
