import type { Command } from 'commander';
import { isLoopbackHost, loadClientSettings, SettingsError, type ClientSettings } from '#settings';
import { HxoClient } from './client.js';
import { UsageError } from './exit-codes.js';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string;
  readonly role?: 'admiral' | 'captain' | 'none';
  readonly token?: string;
  readonly json?: boolean;
}

/** What a command works with: a server to ask and a place to answer. */
export interface Session {
  readonly client: HxoClient;
  readonly json: boolean;
}

/** Opens a session for a command, from its options and the environment. Throws SettingsError, and UsageError for an option. */
export function openSession(command: Command): Session {
  const { url: givenUrl, token: givenToken, role, json = false } = command.optsWithGlobals<GlobalOptions>();
  const { url, token } = clientSettings(givenUrl, givenToken);
  // A role named on the command line is meant: a token that lies in the environment must not speak over it.
  const spoken = role === undefined ? token : undefined;
  return { client: new HxoClient({ url, authorization: authorizationFor(url, spoken, role), note }), json };
}

/** Options stand in for variables, but what is wrong with an option is not to be looked for in the environment. */
function clientSettings(url: string | undefined, token: string | undefined): ClientSettings {
  try {
    return loadClientSettings({
      ...(url !== undefined && { HXO_URL: url }),
      ...(token !== undefined && { HXO_TOKEN: token }),
    });
  } catch (error) {
    const fault =
      error instanceof SettingsError ? error.problems.find((each) => each.variable === 'HXO_URL') : undefined;
    if (url === undefined || fault === undefined) throw error;
    throw new UsageError(
      `--url ${url} cannot be used: give an http:// or https:// URL, such as http://127.0.0.1:8000.`,
    );
  }
}

/** Says something on stderr that is neither the answer nor an error. */
export function note(sentence: string): void {
  process.stderr.write(`${printable(sentence)}\n`);
}

/** Bare role headers are the form of development: servers take them on loopback only, so they go nowhere else unasked. */
function authorizationFor(url: string, token?: string, role?: GlobalOptions['role']): string | undefined {
  if (token !== undefined) return `Bearer ${token}`;
  const local = isLoopbackHost(new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'));
  switch (role ?? (local ? 'admiral' : 'none')) {
    case 'admiral':
      return 'Admiral';
    case 'captain':
      return 'Captain';
    case 'none':
      return undefined;
  }
}

/** Prints a command's answer on stdout: the value as one line of JSON under `--json`, else text for people. */
export function answer(session: Pick<Session, 'json'>, value: unknown, text: () => string): void {
  process.stdout.write((session.json ? JSON.stringify(value) : printable(text())) + '\n');
}

/** Text without control characters but line breaks and tabs: names and messages from a server must not drive a terminal. */
export function printable(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, '\u{fffd}');
}
