import { canonicalJson, type Digest, type Json } from '#hxo/execute';
import type { Identity } from './identify.js';

/*
 * The index is lines of canonical JSON (RFC 8785), each ended by a line feed:
 *
 *     {"type":"hxo-asset-index/v1"}
 *     {"bytes":4711,"height":32,"mime":"image/png","path":"img/a.png","sha256":"<hex>","width":32}
 *     {"bytes":20,"fault":"truncated","height":null,"mime":"image/gif","path":"img/b.gif","sha256":"<hex>","width":null}
 *     {"bytes":900,"mime":"text/css","path":"main.css","sha256":"<hex>"}
 *     {"assets":3,"bytes":5631}
 *
 * Assets stand in bytewise order of their paths; `width` and `height` stand for images only. The last line counts what
 * stands above, so that an index that was cut short shows. A shard's artifact, its segment, is the asset lines alone.
 */
export const index_header = canonicalJson({ type: 'hxo-asset-index/v1' });

/** One file of the index. */
export interface Asset {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: Digest;
  readonly identity: Identity;
}

/** What the assets of a shard, or of a stage, come to. */
export interface AssetCounts {
  readonly assets: number;
  readonly bytes: number;
  readonly images: number;
  /** Images whose size cannot be told because something is wrong with them. */
  readonly faults: number;
}

export function assetLine({ path, bytes, sha256, identity: { mime, size, fault } }: Asset): string {
  const pixels = size === undefined ? {} : { width: size?.width ?? null, height: size?.height ?? null };
  return canonicalJson({ path, bytes, sha256, mime, ...pixels, ...(fault === undefined ? {} : { fault }) });
}

export function countsLine({ assets, bytes }: AssetCounts): string {
  return canonicalJson({ assets, bytes });
}

/** What a collector reads of an asset line that one of its shards has written. */
export function readAssetLine(line: string): {
  readonly path: string;
  readonly bytes: number;
  readonly mime: string;
  readonly fault?: string;
} {
  return JSON.parse(line) as Record<string, Json> as never;
}

/** Counts one more asset. */
export function countAsset(
  { assets, bytes, images, faults }: AssetCounts,
  asset: { readonly bytes: number; readonly mime: string; readonly fault?: string },
): AssetCounts {
  return {
    assets: assets + 1,
    bytes: bytes + asset.bytes,
    images: images + (asset.mime.startsWith('image/') ? 1 : 0),
    faults: faults + (asset.fault === undefined ? 0 : 1),
  };
}

export const no_assets: AssetCounts = { assets: 0, bytes: 0, images: 0, faults: 0 };

/** Orders paths by their UTF-8 bytes. */
export function compareBytewise(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
