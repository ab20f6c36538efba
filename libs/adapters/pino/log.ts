import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';
import type { EngineLog } from '#hxo';

export interface Log extends EngineLog, LoggerService {
  info(message: string, fields?: object): void;
  warn(message: string): void;
  error(message: string, error?: unknown): void;
}

/** JSON lines on stdout and in a file, `[HXO]` in each message so that `grep HXO` finds them. */
export function createLog(options: { readonly log_file: string | null; readonly log_level: string }): Log {
  const streams: { readonly stream: NodeJS.WritableStream | ReturnType<typeof pino.destination> }[] = [
    { stream: process.stdout },
  ];
  if (options.log_file !== null) {
    mkdirSync(dirname(options.log_file), { recursive: true });
    streams.push({ stream: pino.destination({ dest: options.log_file, append: true, sync: true }) });
  }
  const base = {
    level: options.log_level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return logOver(pino(base, pino.multistream(streams.map(({ stream }) => ({ level: 'trace', stream })))));
}

function logOver(logger: Logger): Log {
  const text = (message: unknown): string => `[HXO] ${String(message).replace(/^\[HXO\] /, '')}`;
  return {
    info: (message, fields = {}) => logger.info(fields, text(message)),
    warn: (message) => logger.warn(text(message)),
    error: (message, error) => logger.error(error instanceof Error ? { err: error } : {}, text(message)),
    // What Nest itself has to say: its start-up chatter is for developers.
    log: (message: unknown) => logger.debug(text(message)),
    debug: (message: unknown) => logger.debug(text(message)),
    verbose: (message: unknown) => logger.trace(text(message)),
    fatal: (message: unknown) => logger.fatal(text(message)),
  };
}
