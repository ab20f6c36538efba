import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { LoggerService } from '@nestjs/common';
import { pino, type DestinationStream, type Logger } from 'pino';
import type { EngineLog } from '#hxo';

export interface Log extends EngineLog, LoggerService {
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, error?: unknown): void;
  debug(message: unknown): void;
}

/** Bytes of the log file that wait in memory while the file cannot be written; lines beyond them are lost. */
const waiting_bytes_max = 1024 * 1024;

/**
 * JSON lines on `stdout` and in a file, `[HXO]` in each message so that `grep HXO` finds them. One that cannot be written
 * (a full disk, a pipe whose reader has gone) keeps nothing from going on: the other one says so.
 */
export function createLog(
  options: { readonly log_file: string | null; readonly log_level: string },
  stdout: NodeJS.WritableStream = process.stdout,
): Log {
  const over = (...streams: DestinationStream[]): Log => {
    const base = {
      level: options.log_level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
    };
    return logOver(pino(base, pino.multistream(streams.map((stream) => ({ level: 'trace', stream })))));
  };
  if (options.log_file === null) {
    stdout.on('error', () => {});
    return over(stdout);
  }
  mkdirSync(dirname(options.log_file), { recursive: true });
  const file = pino.destination({
    ...{ dest: options.log_file, append: true, sync: true },
    maxLength: waiting_bytes_max,
  });
  tellOfStdout(stdout, over(file));
  tellOfFile(file, options.log_file, over(stdout));
  return over(stdout, file);
}

function tellOfStdout(stdout: NodeJS.WritableStream, other: Log): void {
  let failed = false;
  stdout.on('error', (error: Error) => {
    if (!failed) other.warn(`stdout cannot be written (${error.message}): the log goes on in its file only.`);
    failed = true;
  });
}

function tellOfFile(file: ReturnType<typeof pino.destination>, path: string, other: Log): void {
  let failed = false;
  let lost = 0;
  file.on('error', (error: Error) => {
    if (!failed) other.error(`The log file ${path} cannot be written: free disk space.`, error);
    failed = true;
  });
  file.on('drop', () => lost++);
  file.on('write', () => {
    if (!failed) return;
    other.warn(`The log file ${path} is written again; it lacks ${lost} lines.`);
    failed = false;
    lost = 0;
  });
}

function logOver(logger: Logger): Log {
  const text = (message: unknown): string => `[HXO] ${String(message).replace(/^\[HXO\] /, '')}`;
  return {
    info: (message, fields = {}) => logger.info(fields, text(message)),
    warn: (message, fields = {}) => logger.warn(fields, text(message)),
    error: (message, error) => logger.error(error instanceof Error ? { err: error } : {}, text(message)),
    // What Nest itself has to say: its start-up chatter is for developers.
    log: (message: unknown) => logger.debug(text(message)),
    debug: (message: unknown) => logger.debug(text(message)),
    verbose: (message: unknown) => logger.trace(text(message)),
    fatal: (message: unknown) => logger.fatal(text(message)),
  };
}
