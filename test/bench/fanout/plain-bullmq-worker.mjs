/** The worker process of plain-bullmq.mjs. Arguments: Redis URL. Prints a line when it is ready. */
import { Worker } from 'bullmq';
import { outputOf } from './noop.mjs';

const [url] = process.argv.slice(2);
const worker = new Worker('plain', async ({ id, data }) => (id === 'parent' ? null : outputOf(data)), {
  connection: { url, maxRetriesPerRequest: null },
  concurrency: 100,
});
await worker.waitUntilReady();
process.stdout.write('ready\n');
process.on('SIGTERM', () => void worker.close().then(() => process.exit(0)));
