import { generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import {
  EnvelopeError,
  in_toto_payload_type,
  openEnvelope,
  preAuthEncoding,
  signatures_max,
  signEnvelope,
  type Envelope,
} from './dsse.js';
import { signerOf, signingKeyOf } from './signing-key.js';

const key = signingKeyOf(generateKeyPairSync('ed25519').privateKey);
const otherKey = signingKeyOf(generateKeyPairSync('ed25519').privateKey);
const payload = Buffer.from('{"hello":"wörld"}', 'utf8');
const envelope = signEnvelope(payload, key);
const [signature] = envelope.signatures as [Envelope['signatures'][number]];

function opens(value: unknown): boolean {
  try {
    openEnvelope(value, [key.publicKey]);
    return true;
  } catch (error) {
    if (error instanceof EnvelopeError) return false;
    throw error;
  }
}

/** Every text that differs from this base64 by one flipped bit of the bytes behind it. */
function flips(base64: string): string[] {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from({ length: 8 * bytes.length }, (_, bit) => {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    return changed.toString('base64');
  });
}

/** Every text that differs from this one in one character. */
function misspellings(text: string): string[] {
  return [...text].flatMap((char, i) =>
    [...'Aa0+/=-_ ']
      .filter((other) => other !== char)
      .map((other) => text.slice(0, i) + other + text.slice(i + 1)),
  );
}

describe('preAuthEncoding', () => {
  it('equals the example of the DSSE protocol', () => {
    const encoded = preAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world'));
    expect(encoded.toString()).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  });

  it('counts bytes, not characters', () => {
    expect(preAuthEncoding('é', Buffer.from('ü')).toString()).toBe('DSSEv1 2 é 2 ü');
  });
});

describe('signEnvelope and openEnvelope', () => {
  it('give any payload back, and the key that signed it', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const opened = openEnvelope(signEnvelope(bytes, key), [otherKey.publicKey, key.publicKey]);
        expect(new Uint8Array(opened.payload)).toEqual(bytes);
        expect(opened.signer).toEqual(signerOf(key.publicKey));
      }),
    );
  });

  it('sign what plain Ed25519 verifies', () => {
    const signed = Buffer.from(
      `DSSEv1 28 application/vnd.in-toto+json ${payload.length} ${payload.toString()}`,
    );
    expect(verify(null, signed, key.publicKey, Buffer.from(signature.sig, 'base64'))).toBe(true);
  });

  it('fail for every flipped bit and every misspelt character of payload and signature', () => {
    const payloads = [...flips(envelope.payload), ...misspellings(envelope.payload)];
    const sigs = [...flips(signature.sig), ...misspellings(signature.sig)];
    expect(payloads.filter((changed) => opens({ ...envelope, payload: changed }))).toEqual([]);
    expect(sigs.filter((sig) => opens({ ...envelope, signatures: [{ ...signature, sig }] }))).toEqual([]);
    expect(opens(envelope)).toBe(true);
  });

  it('fail for another key, whatever key id it claims', () => {
    const forged = signEnvelope(payload, { ...otherKey, key_id: key.key_id });
    expect(() => openEnvelope(forged, [key.publicKey])).toThrow('No trusted key has made this signature');
  });

  it('never rely on the key id', () => {
    expect(opens({ ...envelope, signatures: [{ sig: signature.sig }] })).toBe(true);
    expect(opens({ ...envelope, signatures: [{ ...signature, keyid: otherKey.key_id }] })).toBe(true);
  });

  it('try every signature', () => {
    const [other] = signEnvelope(payload, otherKey).signatures;
    expect(opens({ ...envelope, signatures: [other, signature] })).toBe(true);
    expect(opens({ ...envelope, signatures: [other, other] })).toBe(false);
    expect(opens({ ...envelope, signatures: [] })).toBe(false);
  });

  it('commit to the payload type', () => {
    const payloadType = 'application/json';
    const sig = sign(null, preAuthEncoding(payloadType, payload), key.privateKey).toString('base64');
    expect(() => openEnvelope({ ...envelope, payloadType, signatures: [{ sig }] }, [key.publicKey])).toThrow(
      in_toto_payload_type,
    );
    expect(opens({ ...envelope, signatures: [{ sig }] })).toBe(false);
  });

  it('trust nobody without a key, nor a key of another kind', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
    expect(() => openEnvelope(envelope, [])).toThrow('No trusted key was given');
    expect(() => openEnvelope(envelope, [rsa])).toThrow('No trusted key was given');
  });

  it('ignore fields that they do not know', () => {
    expect(opens({ ...envelope, extra: 1 })).toBe(true);
  });

  it.each([
    ['nothing', undefined, 'certificate must be an object, but is missing'],
    ['a list', [], 'certificate must be an object'],
    ['no payload', { ...envelope, payload: undefined }, 'certificate.payload'],
    [
      'signatures that are no list',
      { ...envelope, signatures: signature },
      'certificate.signatures must be a list',
    ],
    ['a signature without sig', { ...envelope, signatures: [{}] }, 'certificate.signatures[0].sig'],
    [
      'too many signatures',
      { ...envelope, signatures: Array(signatures_max + 1).fill(signature) },
      'more than 16',
    ],
    ['base64 without padding', { ...envelope, payload: 'YQ' }, 'payload is not standard base64'],
  ])('name what is wrong with %s', (_, value, message) => {
    expect(() => openEnvelope(value, [key.publicKey])).toThrow(EnvelopeError);
    expect(() => openEnvelope(value, [key.publicKey])).toThrow(message);
  });
});
