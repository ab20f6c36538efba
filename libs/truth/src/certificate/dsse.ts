import { sign, verify, type KeyObject } from 'node:crypto';
import { listOf, objectOf, ShapeError, text } from './shape.js';
import { keyId, signerOf, type Signer, type SigningKey } from './signing-key.js';

/** A DSSE v1 envelope in its JSON form (https://github.com/secure-systems-lab/dsse, envelope.md). */
export interface Envelope {
  readonly payloadType: string;
  /** Standard base64 of the signed bytes. */
  readonly payload: string;
  readonly signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  /** A hint at the key. It is not signed, so it decides nothing. */
  readonly keyid: string;
  /** Standard base64 of the 64 bytes of an Ed25519 signature over the PAE of type and payload. */
  readonly sig: string;
}

/** The payload type of in-toto statements. */
export const in_toto_payload_type = 'application/vnd.in-toto+json';

/** More signatures than this on one envelope are refused: each costs a verification per trusted key. */
export const signatures_max = 16;

/** Thrown when an envelope is malformed, or no trusted key has signed it. */
export class EnvelopeError extends Error {
  override readonly name = 'EnvelopeError';
}

const envelopeShape = objectOf<Envelope>({
  payloadType: text,
  payload: text,
  signatures: listOf(objectOf<EnvelopeSignature>({ keyid: (value, at) => text(value ?? '', at), sig: text })),
});

/**
 * DSSE's pre-authentication encoding, the bytes that are signed (protocol.md):
 * "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in bytes, decimal.
 */
export function preAuthEncoding(type: string, body: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.byteLength} `, 'utf8'),
    body,
  ]);
}

/** Signs an in-toto payload. Ed25519 is deterministic: the same payload and key give the same envelope. */
export function signEnvelope(payload: Uint8Array, key: SigningKey): Envelope {
  const signature = sign(null, preAuthEncoding(in_toto_payload_type, payload), key.privateKey);
  return {
    payloadType: in_toto_payload_type,
    payload: Buffer.from(payload).toString('base64'),
    signatures: [{ keyid: key.key_id, sig: signature.toString('base64') }],
  };
}

/**
 * The payload of an envelope, once a trusted Ed25519 key is found to have signed it, and that key. Every
 * signature is tried with every trusted key, whatever `keyid` says. The payload is not parsed.
 *
 * Throws {@link EnvelopeError}.
 */
export function openEnvelope(
  value: unknown,
  trusted: readonly KeyObject[],
): { readonly payload: Buffer; readonly signer: Signer } {
  const envelope = readEnvelope(value);
  const keys = trusted.filter((key) => key.type === 'public' && key.asymmetricKeyType === 'ed25519');
  if (keys.length === 0) {
    throw new EnvelopeError(
      'No trusted key was given, so nothing can be verified: name a public key with --key.',
    );
  }
  const payload = fromBase64(envelope.payload, 'payload');
  const signed = preAuthEncoding(envelope.payloadType, payload);
  for (const [i, { sig }] of envelope.signatures.entries()) {
    const signature = fromBase64(sig, `signatures[${i}].sig`);
    const signer = keys.find((key) => verify(null, signed, key, signature));
    if (signer !== undefined) return { payload, signer: signerOf(signer) };
  }
  throw new EnvelopeError(
    'No trusted key has made this signature: the certificate was changed, or another key signed it. ' +
      `Trusted: ${keys.map(keyId).join(', ')}.`,
  );
}

/** Checks the outer form. Throws {@link EnvelopeError}. */
function readEnvelope(value: unknown): Envelope {
  const envelope = readShape(value);
  if (envelope.payloadType !== in_toto_payload_type) {
    throw new EnvelopeError(`The certificate's payloadType must be ${in_toto_payload_type}.`);
  }
  if (envelope.signatures.length > signatures_max) {
    throw new EnvelopeError(`The certificate has more than ${signatures_max} signatures.`);
  }
  return envelope;
}

function readShape(value: unknown): Envelope {
  try {
    return envelopeShape(value, 'certificate');
  } catch (error) {
    if (error instanceof ShapeError) throw new EnvelopeError(`This is no DSSE envelope: ${error.message}`);
    throw error;
  }
}

/** Strict: a second spelling of the same bytes would let the text be changed without breaking the signature. */
function fromBase64(base64: string, field: string): Buffer {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') !== base64) {
    throw new EnvelopeError(`The certificate's ${field} is not standard base64 with padding.`);
  }
  return bytes;
}
