import { SingleBar } from 'cli-progress';
import { counted, type StatusView } from '#hxo';

/** Shows how a plan advances. */
export interface ProgressDisplay {
  show(status: StatusView): void;
  /** Leaves the screen as it should stay. Nothing is shown afterwards. */
  end(): void;
}

/** Where progress is shown: process.stdout, or anything like it. */
export type ProgressStream = NodeJS.WritableStream & { readonly isTTY?: boolean };

/** A live bar on a terminal; elsewhere plain lines, on change of phase and every few seconds. */
export function progressDisplay(stream: ProgressStream, now: () => number = Date.now): ProgressDisplay {
  return stream.isTTY ? new BarDisplay(stream, now) : new LineDisplay(stream, now);
}

const rate_window_ms = 10_000;
const line_interval_ms = 3_000;

/** Shards that have come to their end. */
function finishedShards(status: StatusView): number {
  return status.done_shards + status.failed_shards;
}

/** Shards per second over the last seconds. Null until there is something to divide by. */
class RateMeter {
  private readonly samples: { at_ms: number; finished: number }[] = [];

  observe(at_ms: number, finished: number): number | null {
    this.samples.push({ at_ms, finished });
    while (this.samples.length > 2 && at_ms - (this.samples[0]?.at_ms ?? at_ms) > rate_window_ms)
      this.samples.shift();
    const first = this.samples[0];
    if (first === undefined || at_ms - first.at_ms < 250) return null;
    return ((finished - first.finished) * 1000) / (at_ms - first.at_ms);
  }
}

/** Shards, rate, ETA and phase in words, the same for bar and lines. */
function describe(status: StatusView, rate: number | null): string {
  const total = status.total_final ? counted(status.total_shards, 'shard') : `${status.total_shards}+ shards`;
  const failed = status.failed_shards > 0 ? `, ${status.failed_shards} failed` : '';
  const reused = status.reused_shards > 0 ? `, ${status.reused_shards} reused` : '';
  const speed = rate === null ? '' : ` | ${rate < 10 ? rate.toFixed(1) : Math.round(rate)}/s`;
  const eta = status.finished_at === null ? ` | ETA ${formatEta(etaSeconds(status, rate))}` : '';
  const waiting = status.waiting_for === null ? '' : ` | waiting for ${status.waiting_for}`;
  return `${finishedShards(status)}/${total}${reused}${failed}${speed}${eta} | ${status.phase}${waiting}`;
}

/** The server's estimate; where it has none, what the rate seen from here comes to. */
function etaSeconds(status: StatusView, rate: number | null): number | null {
  if (status.eta_seconds !== null) return status.eta_seconds;
  const left = status.total_shards - finishedShards(status);
  if (left === 0 && status.phase !== 'partitioning' && status.total_final) return 0;
  return status.total_final && rate !== null && rate > 0 ? left / rate : null;
}

function formatEta(seconds: number | null): string {
  if (seconds === null) return '?';
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

class BarDisplay implements ProgressDisplay {
  private readonly rate = new RateMeter();
  private readonly bar: SingleBar;
  private started = false;

  constructor(
    stream: NodeJS.WritableStream,
    private readonly now: () => number,
  ) {
    this.bar = new SingleBar({
      stream,
      format: '{bar} {percentage}% | {words}',
      barsize: 24,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      hideCursor: true,
      // The command handles Ctrl-C itself, and ends the bar then.
      gracefulExit: false,
    });
  }

  show(status: StatusView): void {
    const words = describe(status, this.rate.observe(this.now(), finishedShards(status)));
    // A plan of no shards is all done when it has ended, and nothing is done of a total that is not known yet.
    const empty = status.total_shards === 0;
    const total = empty ? 1 : status.total_shards;
    const finished = empty ? Number(status.phase === 'succeeded') : finishedShards(status);
    if (!this.started) {
      this.started = true;
      this.bar.start(total, finished, { words });
    } else {
      this.bar.setTotal(total);
      this.bar.update(finished, { words });
    }
  }

  end(): void {
    this.bar.stop();
  }
}

class LineDisplay implements ProgressDisplay {
  private readonly rate = new RateMeter();
  private lastPhase: string | null = null;
  private lastLine = '';
  private lastAt_ms = 0;

  constructor(
    private readonly stream: NodeJS.WritableStream,
    private readonly now: () => number,
  ) {}

  show(status: StatusView): void {
    const at_ms = this.now();
    const line = describe(status, this.rate.observe(at_ms, finishedShards(status)));
    const due = status.phase !== this.lastPhase || at_ms - this.lastAt_ms >= line_interval_ms;
    if (!due || line === this.lastLine) return;
    this.stream.write(`${line}\n`);
    this.lastPhase = status.phase;
    this.lastLine = line;
    this.lastAt_ms = at_ms;
  }

  end(): void {
    // Every line is complete as it stands.
  }
}

/** One status a line, whenever it changes: what `--json` shows. */
export class JsonDisplay implements ProgressDisplay {
  private last = '';

  constructor(private readonly stream: NodeJS.WritableStream) {}

  show(status: StatusView): void {
    const line = JSON.stringify(status);
    if (line !== this.last) this.stream.write(`${line}\n`);
    this.last = line;
  }

  end(): void {
    // Every line is complete as it stands.
  }
}
