import type { Json } from '#truth';
import { globFault } from './glob-fault.js';
import { ConfigError, type ConfigField } from './stage-config.js';

const globs_max = 1000;
const glob_chars_max = 4096;

/** What a field says of itself: its meaning, and its default in words where the value alone would not do. */
interface About {
  readonly meaning: string;
  /** In Markdown. Left out, it is the default's JSON. */
  readonly default_text?: string;
}

/** true or false. */
export function flag(by_default: boolean, about: About): ConfigField<boolean> {
  return field(by_default, about, (value, name) => {
    if (typeof value !== 'boolean') throw new ConfigError(name, `${name} must be true or false.`);
    return value;
  });
}

/** A whole number within limits. */
export function wholeNumber<D extends number | null>(
  by_default: D,
  { least, most = Number.MAX_SAFE_INTEGER, ...about }: About & { least: number; most?: number },
): ConfigField<number | D> {
  return field<number | D>(by_default, about, (value, name) => {
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most)
      return value as number;
    const limit = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    const way_out = by_default === null ? ` Leave it out for ${about.default_text ?? 'none'}.` : '';
    throw new ConfigError(name, `${name} must be a whole number ${limit}.${way_out}`);
  });
}

/** Text within a length, of a shape when one is given. */
export function text<D extends string | null>(
  by_default: D,
  { most, shape, ...about }: About & { most: number; shape?: { pattern: RegExp; words: string } },
): ConfigField<string | D> {
  return field<string | D>(by_default, about, (value, name) => {
    const fits = typeof value === 'string' && value !== '' && value.length <= most && !value.includes('\0');
    if (!fits) throw new ConfigError(name, `${name} must be a text of 1 to ${most} characters.`);
    if (shape !== undefined && !shape.pattern.test(value))
      throw new ConfigError(name, `${name} must be ${shape.words}.`);
    return value;
  });
}

/** One of several words. */
export function choice<const Words extends readonly string[]>(
  by_default: Words[number],
  words: Words,
  about: About,
): ConfigField<Words[number]> {
  return field<Words[number]>(by_default, about, (value, name) => {
    if (!words.includes(value as string))
      throw new ConfigError(name, `${name} must be one of ${words.join(', ')}.`);
    return value as Words[number];
  });
}

/** A folder relative to the workspace. Spellings of one folder give one text, and so one content id. */
export function folder(by_default: string, about: About): ConfigField<string> {
  return field(by_default, about, (value, name) => {
    const outside = typeof value !== 'string' || value.startsWith('/') || value.split('/').includes('..');
    if (outside || value.includes('\0'))
      throw new ConfigError(name, `${name} must be a folder relative to the workspace, without "..".`);
    return value.split('/').filter((part) => part !== '' && part !== '.').join('/') || '.'; // prettier-ignore
  });
}

/** A list of globs, none of which can match nothing. */
export function globs(about: About): ConfigField<readonly string[]> {
  return field<readonly string[]>([], about, (value, name) => {
    const isGlob = (glob: Json): glob is string =>
      typeof glob === 'string' && glob !== '' && glob.length <= glob_chars_max;
    if (!Array.isArray(value) || value.length > globs_max || !value.every(isGlob)) {
      throw new ConfigError(
        name,
        `${name} must be a list of at most ${globs_max} globs, such as ["src/**/*.ts"].`,
      );
    }
    for (const glob of value) {
      const fault = globFault(glob);
      if (fault !== null) throw new ConfigError(name, `${name}: the glob ${JSON.stringify(glob)} ${fault}`);
    }
    return value;
  });
}

/** A field with a check of its own; what is left out is the default, unchecked. */
export function field<T extends Json>(
  by_default: T,
  { meaning, default_text }: About,
  check: (value: Json, name: string) => T,
): ConfigField<T> {
  return {
    meaning,
    default: default_text ?? `\`${JSON.stringify(by_default)}\``,
    parse: (value, name) => (value === undefined ? by_default : check(value, name)),
  };
}
