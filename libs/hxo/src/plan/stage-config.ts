import type { Json } from '#truth';

/** Faults of one config that are told at once; whoever mends these sends the rest again. */
const faults_max = 100;

/** Thrown when a stage's config is not what its partitioner and executor take. `field` is the path below `config`. */
export class ConfigError extends Error {
  override readonly name: string = 'ConfigError';
  constructor(
    readonly field: string,
    message: string,
  ) {
    super(message);
  }

  /** Every fault of the config that is known by now. */
  get faults(): readonly ConfigError[] {
    return [this];
  }
}

/** Thrown when a config has a field that nobody takes. */
export class UnknownField extends ConfigError {
  override readonly name = 'UnknownField';
}

/** Thrown when several fields of a config are wrong; reads as the first of them. */
export class ConfigFaults extends ConfigError {
  override readonly name = 'ConfigFaults';
  constructor(private readonly all: readonly [ConfigError, ...ConfigError[]]) {
    super(all[0].field, all[0].message);
  }

  override get faults(): readonly ConfigError[] {
    return this.all;
  }
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
 * Checks a config against its table and fills defaults. Throws {@link UnknownField}, {@link ConfigError} naming the field, or
 * {@link ConfigFaults} when there are more: unknown fields first, then the table's in its order.
 * @param owner whose fields they are, for messages
 */
export function parseFields<Config>(owner: string, fields: ConfigFields<Config>, config: RawConfig): Config {
  const names = Object.keys(fields) as (keyof Config & string)[];
  const faults: ConfigError[] = Object.keys(config)
    .filter((field) => !(names as string[]).includes(field))
    .slice(0, faults_max)
    .map((field) => new UnknownField(field, `${owner} has no "${field}". It takes ${names.join(', ')}.`));
  const parsed: [string, unknown][] = [];
  for (const name of names) {
    try {
      parsed.push([name, fields[name].parse(config[name], name)]);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      faults.push(...error.faults);
    }
  }
  const [first, ...others] = faults;
  if (first === undefined) return Object.fromEntries(parsed) as Config;
  throw others.length === 0 ? first : new ConfigFaults([first, ...others]);
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
