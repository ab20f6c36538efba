import type { KeyObject } from 'node:crypto';
import type { Digest } from '../digest.js';
import { checkInclusion, proveInclusion } from '../merkle/inclusion.js';
import { planLeaf, type PlanLeaf } from '../merkle/plan-leaf.js';
import { leafCount, leafRange } from '../merkle/tree-hash.js';
import type { Envelope } from './dsse.js';
import { count, digest, listOf, objectOf, oneOf, orNull, ShapeError, text } from './shape.js';
import type { TreeHead } from './statement.js';
import { failedVerdict, verdictOn, type Check, type Verdict } from './verdict.js';

export const receipt_type = 'hxo-receipt/v1';

/** Proof, good without any server, that a certified plan has this shard (or stage output) with this outcome. */
export interface Receipt {
  readonly type: typeof receipt_type;
  readonly leaf: PlanLeaf;
  /** The leaf's position in the plan's tree, from 0. */
  readonly index: number;
  /** Leaves in the plan's tree. */
  readonly size: number;
  /** Sibling hashes from the leaf up (RFC 9162 §2.1.3). */
  readonly path: readonly Digest[];
  readonly certificate: Envelope;
}

/** Thrown when no valid receipt can be made: the store does not hold what was certified. */
export class ReceiptError extends Error {
  override readonly name = 'ReceiptError';
}

type Proof = Omit<Receipt, 'certificate'>;

const proofShape = objectOf<Proof>({
  type: oneOf(receipt_type),
  leaf: objectOf<PlanLeaf>({
    cas: orNull(digest),
    executor: text,
    ordinal: orNull(count),
    output: orNull(digest),
    stage: text,
    status: oneOf('done', 'failed', 'skipped'),
  }),
  index: count,
  size: count,
  path: listOf(digest),
});

/**
 * The receipt of leaf `index` among the plan's leaf hashes (a flat buffer, 32 bytes each, in the tree's order).
 * Hashes the whole tree once: a million leaves take most of a second.
 *
 * Throws {@link ReceiptError} unless the receipt it made verifies with the trusted keys, and RangeError when there
 * is no such leaf.
 */
export function makeReceipt(
  from: {
    readonly leaf: PlanLeaf;
    readonly index: number;
    readonly leaves: Uint8Array;
    readonly certificate: Envelope;
  },
  trusted: readonly KeyObject[],
): Receipt {
  const { leaf, index, leaves, certificate } = from;
  const path = proveInclusion(leaves, index);
  if (!planLeaf(leaf).equals(leafRange(leaves, index, index + 1))) {
    throw new ReceiptError(`Leaf ${index} of the tree is not the hash of this shard of stage ${leaf.stage}.`);
  }
  const receipt: Receipt = { type: receipt_type, leaf, index, size: leafCount(leaves), path, certificate };
  const failed = checkReceipt(receipt, trusted).checks.find((check) => !check.ok);
  if (failed !== undefined)
    throw new ReceiptError(`The store does not match its certificate: ${failed.detail}`);
  return receipt;
}

/** Verifies a receipt from anywhere. Never throws on bad input: the verdict says what is wrong. */
export function checkReceipt(value: unknown, trusted: readonly KeyObject[]): Verdict {
  let proof: Proof;
  try {
    proof = proofShape(value, 'receipt');
  } catch (error) {
    if (error instanceof ShapeError) return failedVerdict('receipt', 'receipt', error.message);
    throw error;
  }
  const { certificate } = value as Partial<Receipt>;
  return verdictOn('receipt', certificate, trusted, ({ predicate }) => checkProof(proof, predicate.tree));
}

function checkProof({ leaf, index, size, path }: Proof, tree: TreeHead): Check[] {
  if (size !== tree.size) {
    return [
      { name: 'size', ok: false, detail: `The receipt counts ${size} leaves, the certificate ${tree.size}.` },
    ];
  }
  const included = checkInclusion({ leaf_hash: planLeaf(leaf), index, size, path, root: tree.root });
  const what =
    leaf.ordinal === null
      ? `The output of stage ${leaf.stage}`
      : `Shard ${leaf.ordinal} of stage ${leaf.stage}`;
  return [
    {
      name: 'path',
      ok: included,
      detail: included
        ? `${what} is ${leaf.status} with output ${leaf.output}, leaf ${index} of the ${size} under the certified root.`
        : `Leaf and path do not lead to the certified root ${tree.root}: the leaf, its index or the path was changed.`,
    },
  ];
}
