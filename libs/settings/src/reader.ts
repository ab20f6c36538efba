import { resolve } from 'node:path';
import { defaultOf, secret_variables, target_variable, type VariableName } from './variables.js';

/** Environment variables by name, as in process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable that cannot be used. */
export interface Problem {
  readonly variable: string;
  /** Null for secrets. */
  readonly value: string | null;
  /** What is allowed, or what to do instead. */
  readonly allowed: string;
}

/** Thrown when settings cannot be used. Lists every bad variable at once, with its value (never a token's). */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  constructor(readonly problems: readonly Problem[]) {
    const lines = problems.map(
      ({ variable, value, allowed }) => `${variable}${value === null ? '' : `=${value}`}: ${allowed}`,
    );
    super(
      lines.length === 1
        ? `Fix this setting in the environment or in .env: ${lines[0]}`
        : [`Fix these ${lines.length} settings in the environment or in .env:`, ...lines].join('\n  '),
    );
  }
}

/** Reads typed values out of an environment and gathers what is wrong with them, so that all is told at once. */
export class SettingsReader {
  readonly problems: Problem[] = [];

  constructor(
    private readonly env: Environment,
    private readonly cwd: string,
  ) {}

  /** The trimmed text, or undefined when the variable is absent or empty. */
  text(name: VariableName): string | undefined {
    return this.env[name]?.trim() || undefined;
  }

  /** True when a variable, known or not, holds something. */
  isSet(name: string): boolean {
    return Boolean(this.env[name]?.trim());
  }

  /** True when the variable is there but holds nothing. */
  isEmpty(name: VariableName): boolean {
    return this.env[name]?.trim() === '';
  }

  integer(name: VariableName, min: number, max: number, fallback?: number): number {
    const text = this.text(name) ?? fallback?.toString() ?? defaultOf(name);
    const value = Number(text);
    if (!/^\d{1,16}$/.test(text) || value < min || value > max) {
      this.refuse(name, `a whole number from ${min} to ${max} is allowed, digits only.`);
      return min;
    }
    return value;
  }

  flag(name: VariableName): boolean {
    const text = (this.text(name) ?? defaultOf(name)).toLowerCase();
    if (['true', '1', 'yes', 'on'].includes(text)) return true;
    if (['false', '0', 'no', 'off'].includes(text)) return false;
    this.refuse(name, 'true or false is allowed (also 1, 0, yes, no, on, off).');
    return false;
  }

  choice<const Choice extends string>(name: VariableName, choices: readonly [Choice, ...Choice[]]): Choice {
    const text = (this.text(name) ?? defaultOf(name)).toLowerCase();
    const choice = choices.find((candidate) => candidate === text);
    if (choice === undefined) this.refuse(name, `one of ${choices.join(', ')} is allowed.`);
    return choice ?? choices[0];
  }

  /** An absolute path; a relative one counts from the current directory. */
  path(name: VariableName, fallback: string): string {
    return resolve(this.cwd, this.text(name) ?? fallback);
  }

  list(name: VariableName): string[] {
    return (this.text(name) ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  }

  /** Variables whose names fit a pattern and that hold something, with their trimmed texts, by name. */
  matching(pattern: RegExp): [name: string, text: string][] {
    return Object.entries(this.env)
      .map(([name, value]): [string, string] => [name, value?.trim() ?? ''])
      .filter(([name, value]) => pattern.test(name) && value !== '')
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }

  refuse(variable: string, allowed: string): void {
    const secret = secret_variables.has(variable) || target_variable.test(variable);
    const value = secret ? null : (this.env[variable] ?? '');
    this.problems.push({ variable, value, allowed });
  }

  /** Throws {@link SettingsError} when anything was refused. */
  finish(): void {
    if (this.problems.length > 0) throw new SettingsError(this.problems);
  }
}
