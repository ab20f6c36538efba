import { RetryShard, sha256Stream, type ArtifactStore, type Digest } from '#hxo/execute';

/** The bytes of an artifact as they are read. Throws RetryShard at their end when they are not those that the digest names. */
export async function* artifactBytes(artifacts: ArtifactStore, digest: Digest): AsyncGenerator<Uint8Array> {
  const hash = sha256Stream();
  for await (const chunk of (await artifacts.open(digest)) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest() !== digest) throw artifactCorrupt(digest, 'has bytes of another SHA-256');
}

/** A whole artifact. Throws RetryShard when its bytes are not those that the digest names. */
export async function readArtifact(artifacts: ArtifactStore, digest: Digest): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of artifactBytes(artifacts, digest)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function artifactCorrupt(digest: Digest, why: string): RetryShard {
  return new RetryShard('ARTIFACT_CORRUPT', `Artifact ${digest} ${why}. Submit the plan again.`);
}
