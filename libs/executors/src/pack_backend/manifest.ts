import { canonicalJson, isDigest, type Digest, type Json } from '#hxo/execute';
import type { PackedFile } from './inputs.js';

/*
 * The two artifacts of a pack stage, as lines of canonical JSON (RFC 8785), each ended by a line feed.
 *
 * The manifest depends on nothing but the content of the packs:
 *
 *     {"type":"hxo-pack-manifest/v1"}
 *     {"files":[["src/a.ts",120,0,"<sha256>"],["run.sh",40,1,"<sha256>"]],"tar":"<sha256>"}
 *     {"part":["big.bin",25000000,0,0,10000000,"<sha256 of the range>"],"tar":"<sha256>"}
 *     {"bytes":25000160,"files":3,"packs":4}
 *
 * `tar` is the digest of the uncompressed tar; a file is path, bytes, mode (1 is executable) and digest; a part is path,
 * bytes of the whole file, mode, offset, length and digest. The last line counts what stands above, so that a manifest
 * that was cut short shows. `packs` says, in the same order, which blob holds each tar:
 *
 *     {"type":"hxo-packs/v1"}
 *     {"blob":"<sha256>","bytes":4711,"codec":"gzip","tar":"<sha256>"}
 */
export const manifest_header = canonicalJson({ type: 'hxo-pack-manifest/v1' });
export const packs_header = canonicalJson({ type: 'hxo-packs/v1' });

/** One tar of the manifest and what is in it. */
export interface ManifestPack {
  readonly tar: Digest;
  readonly entries: readonly ManifestEntry[];
  /** True when the one entry is a range of a file. */
  readonly part: boolean;
}

export interface ManifestEntry extends PackedFile {
  /** SHA-256 of the file, or of the range. */
  readonly digest: Digest;
}

/** What the manifest's last line says, and what a stage's output and an unpacking come to. */
export interface PackCounts {
  /** Files restored; one that was cut into ranges counts once. */
  readonly files: number;
  /** Sum of their lengths. */
  readonly bytes: number;
  readonly packs: number;
}

/** Where a tar's bytes are. */
export interface PackBlob {
  readonly tar: Digest;
  readonly blob: Digest;
  readonly bytes: number;
}

export function manifestLine(pack: ManifestPack): string {
  const rows = pack.entries.map(({ path, total_bytes, executable, offset, length, digest }) =>
    pack.part
      ? [path, total_bytes, executable ? 1 : 0, offset, length, digest]
      : [path, total_bytes, executable ? 1 : 0, digest],
  );
  return canonicalJson({ tar: pack.tar, ...(pack.part ? { part: rows[0] } : { files: rows }) });
}

export function countsLine({ files, bytes, packs }: PackCounts): string {
  return canonicalJson({ files, bytes, packs });
}

export function packsLine({ tar, blob, bytes }: PackBlob): string {
  return canonicalJson({ tar, blob, bytes, codec: 'gzip' });
}

/** What `counts` come to with one more pack. A file that was cut counts at its first range. */
export function countPack(counts: PackCounts, entries: readonly PackedFile[]): PackCounts {
  return {
    files: counts.files + entries.filter((entry) => entry.offset === 0).length,
    bytes: entries.reduce((sum, entry) => sum + entry.length, counts.bytes),
    packs: counts.packs + 1,
  };
}

/** Reads a line behind the manifest's header: a pack, or the closing counts. Null when it is neither. */
export function parseManifestLine(line: string): ManifestPack | PackCounts | null {
  const { tar, files, part, bytes, packs } = recordOf(line);
  if (isDigest(tar)) {
    const isPart = part !== undefined;
    const entries = (isPart ? [part] : Array.isArray(files) ? files : []).map(isPart ? parsePart : parseFile);
    return entries.length > 0 && entries.every((entry) => entry !== null)
      ? { tar, entries, part: isPart }
      : null;
  }
  return isCount(files) && isCount(bytes) && isCount(packs) ? { files, bytes, packs } : null;
}

/** Reads a line behind the header of `packs`. Null when it is not one. */
export function parsePacksLine(line: string): PackBlob | null {
  const { tar, blob, bytes, codec } = recordOf(line);
  return isDigest(tar) && isDigest(blob) && isCount(bytes) && codec === 'gzip' ? { tar, blob, bytes } : null;
}

function parseFile(row: Json): ManifestEntry | null {
  if (!Array.isArray(row) || row.length !== 4) return null;
  const [path, bytes, mode, digest] = row as Json[];
  return entry(path, bytes, mode, 0, bytes, digest);
}

function parsePart(row: Json): ManifestEntry | null {
  if (!Array.isArray(row) || row.length !== 6) return null;
  const [path, bytes, mode, offset, length, digest] = row as Json[];
  return entry(path, bytes, mode, offset, length, digest);
}

function entry(
  path?: Json,
  bytes?: Json,
  mode?: Json,
  offset?: Json,
  length?: Json,
  digest?: Json,
): ManifestEntry | null {
  if (typeof path !== 'string' || !isDigest(digest) || (mode !== 0 && mode !== 1)) return null;
  if (!isCount(bytes) || !isCount(offset) || !isCount(length) || offset + length > bytes) return null;
  return { path, total_bytes: bytes, executable: mode === 1, offset, length, digest };
}

function recordOf(line: string): Record<string, Json | undefined> {
  try {
    const value = JSON.parse(line) as Json;
    const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isRecord ? (value as Record<string, Json>) : {};
  } catch {
    return {};
  }
}

function isCount(value: Json | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
