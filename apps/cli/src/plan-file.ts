import { isScalar, isSeq, parseDocument, type Document, type Scalar } from 'yaml';
import { nameOf, readSource } from './arguments.js';
import { CommandError, UsageError } from './exit-codes.js';

/** A plan as its author wrote it. */
export interface PlanFile {
  /** The plan as JSON text. */
  readonly json: string;
  /** A server's refusal, with what YAML made of the fields that it names. Other errors as they are. */
  readonly explain: (refusal: unknown) => unknown;
}

/**
 * Reads a plan file. JSON goes to the server as it was written, so that the server judges what the author wrote; YAML is
 * converted. Throws {@link UsageError}.
 */
export async function readPlanFile(file: string): Promise<PlanFile> {
  const source = await readSource(file);
  const isYaml = /\.ya?ml$/i.test(file) || (file === '-' && !/^\s*[[{]/.test(source));
  try {
    return isYaml ? parseYamlPlan(source) : parseJsonPlan(source);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${nameOf(file)} is not a plan in ${isYaml ? 'YAML' : 'JSON'}: ${why}`);
  }
}

function parseJsonPlan(json: string): PlanFile {
  JSON.parse(json);
  return { json, explain: (refusal) => refusal };
}

/** Throws an Error that says what is wrong, and where. */
export function parseYamlPlan(source: string): PlanFile {
  const document = parseDocument(source);
  const [error] = document.errors;
  if (error?.code === 'MULTIPLE_DOCS')
    throw new Error('It holds several documents. Submit each plan from a file of its own, without "---".');
  if (error !== undefined) throw error;
  if (document.contents === null) throw new Error('It is empty. Write a plan with "name" and "stages".');
  return { json: jsonOf(document), explain: (refusal) => explained(refusal, document) };
}

function jsonOf(document: Document): string {
  try {
    return JSON.stringify(document.toJS());
  } catch (error) {
    // The parser refuses aliases that multiply; what holds itself has no end as JSON.
    if (error instanceof ReferenceError && error.message.startsWith('Excessive alias count'))
      throw new Error('Its aliases (*) stand for too much. Write out what they stand for.', { cause: error });
    if (error instanceof TypeError)
      throw new Error('An anchor (&) holds itself by an alias (*). Write out what is meant.', {
        cause: error,
      });
    throw error;
  }
}

function explained(refusal: unknown, document: Document): unknown {
  if (!(refusal instanceof CommandError) || refusal.errors.length === 0) return refusal;
  const errors = refusal.errors.map(({ field, message }) => ({
    field,
    message: wants_number.test(message) ? message : message + readingOf(field, document),
  }));
  return new CommandError(refusal.exit_code, refusal.code, refusal.message, errors);
}

/** The server's words where a number is what it wants: quotes would not help. */
const wants_number = /\bnumber\b|less than|greater than/;

/** What YAML made of a field that reads like text and is none: `name: 2024` is a number, `name: yes` is text. */
function readingOf(field: string, document: Document): string {
  const path = (field.match(/[^.[\]]+/g) ?? []).map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  const node = document.getIn(path, true);
  const scalar = (isSeq(node) ? node.items : [node]).find(isNoText);
  if (scalar === undefined) return '';
  const { source = '', value } = scalar;
  const read = value === null ? 'nothing (null)' : `the ${typeof value} ${JSON.stringify(value)}`;
  return `. YAML reads ${source || 'an empty value'} as ${read}: for text, put it in quotes: ${JSON.stringify(source)}`;
}

function isNoText(node: unknown): node is Scalar {
  return isScalar(node) && typeof node.value !== 'string';
}
