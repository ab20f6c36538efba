import type { Json } from '#truth';

/** Thrown when a stage's config is not what its partitioner and executor take. `field` is the path below `config`. */
export class ConfigError extends Error {
  override readonly name: string = 'ConfigError';
  constructor(
    readonly field: string,
    message: string,
  ) {
    super(message);
  }
}

/** Thrown when a config has a field that nobody takes. */
export class UnknownField extends ConfigError {
  override readonly name = 'UnknownField';
}

/** One field of a stage's `config`: the same entry validates it and documents it. */
export interface ConfigField<T> {
  /** What it means, in Markdown, for the documentation. */
  readonly meaning: string;
  /** What stands when it is left out, in Markdown, for the documentation. */
  readonly default: string;
  /** The checked value, or the default when it is left out. Throws {@link ConfigError}; its message begins with `field`. */
  parse(value: Json | undefined, field: string): T;
}

/** A table of fields by the names that plans give them. */
export type ConfigFields<Config> = { readonly [Field in keyof Config]: ConfigField<Config[Field]> };

/** A config as it stands in a plan. */
export type RawConfig = Readonly<Record<string, Json>>;

/**
 * Checks a config against its table and fills defaults. Throws {@link UnknownField}, or {@link ConfigError} naming the field.
 * @param owner whose fields they are, for messages
 */
export function parseFields<Config>(owner: string, fields: ConfigFields<Config>, config: RawConfig): Config {
  const names = Object.keys(fields) as (keyof Config & string)[];
  const unknown = Object.keys(config).find((field) => !(names as string[]).includes(field));
  if (unknown !== undefined) {
    throw new UnknownField(unknown, `${owner} has no "${unknown}". It takes ${names.join(', ')}.`);
  }
  return Object.fromEntries(names.map((name) => [name, fields[name].parse(config[name], name)])) as Config;
}

/** Fields that belong to an executor, and those that are left for the partitioner. */
export function splitConfig(
  config: RawConfig,
  options: ConfigFields<Readonly<Record<string, Json>>> | undefined,
): { readonly own: RawConfig; readonly rest: RawConfig } {
  const belongs = ([field]: [string, Json]): boolean =>
    options !== undefined && Object.hasOwn(options, field);
  const entries = Object.entries(config);
  return {
    own: Object.fromEntries(entries.filter(belongs)),
    rest: Object.fromEntries(entries.filter((entry) => !belongs(entry))),
  };
}
