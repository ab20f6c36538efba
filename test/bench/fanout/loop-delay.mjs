/** Preloaded into a server: writes its event loop's delays, in milliseconds, to HXO_BENCH_LOOP_FILE when it ends. */
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const file = process.env.HXO_BENCH_LOOP_FILE;
if (isMainThread && file !== undefined) {
  const histogram = monitorEventLoopDelay({ resolution: 5 });
  histogram.enable();
  process.on('exit', () => {
    const ms = (nanoseconds) => Math.round(nanoseconds / 1e5) / 10;
    writeFileSync(
      file,
      JSON.stringify({
        p50: ms(histogram.percentile(50)),
        p99: ms(histogram.percentile(99)),
        max: ms(histogram.max),
      }),
    );
  });
}
