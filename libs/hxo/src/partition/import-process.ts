import { fork, type ChildProcess } from 'node:child_process';
import type { ImportReader, Source } from './import-reader.js';

const script = new URL('./import-process.main.js', import.meta.url);
/** Far beyond what the largest source takes on a machine that is busy. */
const answer_ms_max = 60_000;
/** Limit of the process's JavaScript heap, in MiB. */
const heap_mb_max = 1024;

/** How the process ended: `fault` when what it parsed was the reason. */
interface Ending {
  readonly fault: boolean;
  readonly words: string;
}

type Answer = readonly (readonly string[])[];

/**
 * Parses in a process of its own, for a source that is nested a few thousand levels deep overflows the native parser's
 * stack, and no exception tells of that: it would take the server with it. The process is started at the first call,
 * and again after it ended; it ends by itself when the one that started it is gone.
 */
export class ImportProcess implements ImportReader {
  private child: ChildProcess | null = null;
  private closed = false;

  /** @param main the process's module; it is run as it is, so it must be compiled */
  constructor(private readonly main: URL = script) {}

  async read(sources: readonly Source[]): Promise<Answer> {
    const answer = await this.ask(sources);
    if (isAnswer(answer)) return answer;
    // One of them has ended the process, and only alone they show which.
    const found: (readonly string[])[] = [];
    for (const source of sources) found.push(await this.readAlone(source));
    return found;
  }

  close(): void {
    this.closed = true;
    this.child?.kill('SIGKILL');
  }

  private async readAlone(source: Source): Promise<readonly string[]> {
    const answer = await this.ask([source]);
    if (isAnswer(answer)) return answer[0]!;
    if (answer.fault) return [];
    throw new Error(
      `The imports of ${JSON.stringify(source.path)} could not be read: the parser ${answer.words}. Submit the plan again, or leave the file out with "exclude".`,
    );
  }

  private async ask(sources: readonly Source[]): Promise<Answer | Ending> {
    if (this.closed) throw new Error('The parser of imports was closed.');
    // One that has ended since it answered last is of no use, and tells nothing of these sources.
    if (this.child?.connected === false) this.child = null;
    this.child ??= await this.start();
    const reply = await replyOf(this.child, sources);
    if (!isAnswer(reply)) this.child = null;
    return reply as Answer | Ending;
  }

  private async start(): Promise<ChildProcess> {
    // Known before it is ready, so that it can be closed at any time.
    const child = (this.child = fork(this.main, {
      env: {},
      execArgv: [`--max-old-space-size=${heap_mb_max}`],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    }));
    child.on('error', () => undefined);
    const ready = await replyOf(child);
    if (ready === 'ready') return child;
    this.child = null;
    throw new Error(
      `The parser of imports cannot be started: it ${(ready as Ending).words}. Install HXO anew.`,
    );
  }
}

/** The next message of the process, or its end. One that does not answer is ended. */
function replyOf(child: ChildProcess, question?: readonly Source[]): Promise<unknown> {
  return new Promise((resolve) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, answer_ms_max);
    const settle = (reply: unknown): void => {
      clearTimeout(timer);
      child.off('message', settle).off('close', onClose).off('error', onError);
      resolve(reply);
    };
    const onClose = (code: number | null, signal: NodeJS.Signals | null): void =>
      settle(endingOf(code, signal, late));
    // Of one that cannot be started, no 'close' may follow.
    const onError = (error: Error): void =>
      settle({ fault: false, words: `failed: ${error.message}` } satisfies Ending);
    child.once('message', settle).once('close', onClose).once('error', onError);
    if (question !== undefined) child.send(question, () => undefined);
  });
}

function endingOf(code: number | null, signal: NodeJS.Signals | null, late: boolean): Ending {
  if (late) return { fault: false, words: `gave no answer within ${answer_ms_max / 1000} s` };
  if (signal === null) return { fault: true, words: `exited with code ${code}` };
  const fault = ['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGTRAP', 'SIGFPE'].includes(signal);
  return { fault, words: `was ended by ${signal}` };
}

function isAnswer(reply: unknown): reply is Answer {
  return Array.isArray(reply);
}
