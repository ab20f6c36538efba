import { type Environment, SettingsReader } from './reader.js';

/** What the `hxo` command needs to reach a server. */
export interface ClientSettings {
  /** Origin of the server, without a trailing slash. */
  readonly url: string;
  /** Sent as a bearer token. */
  readonly token?: string;
}

/**
 * Reads only what a client needs: a server's bad setting must not keep `hxo` from asking another server.
 *
 * Throws {@link SettingsError}.
 */
export function readClientSettings(env: Environment, cwd: string): ClientSettings {
  const read = new SettingsReader(env, cwd);
  const token = read.text('HXO_TOKEN');
  const url = readUrl(read);
  read.finish();
  return Object.freeze({ url, ...(token && { token }) });
}

function readUrl(read: SettingsReader): string {
  const text = read.text('HXO_URL');
  if (text === undefined) {
    const port = read.integer('HXO_PORT', 0, 65_535);
    if (port === 0) {
      read.refuse(
        'HXO_PORT',
        'the server takes any free port; set HXO_URL (or give --url) to the one that it logs.',
      );
    }
    return `http://127.0.0.1:${port}`;
  }
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    read.refuse(
      'HXO_URL',
      'an http:// or https:// URL is allowed (here or as --url), such as http://127.0.0.1:8000.',
    );
  }
  return text.replace(/\/+$/, '');
}
