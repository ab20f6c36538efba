import {
  FailShard,
  HttpFailed,
  HttpRefused,
  RetryShard,
  type ExecutorContext,
  type HttpAnswer,
  type Shard,
  type ShardOutput,
} from '#hxo/execute';
import { eachAtOnce } from './at-once.js';
import type { UrlInputs } from './inputs.js';
import { isExpected } from './options.js';
import { linesOf, urlList } from './primed-list.js';
import { routeUrl } from './route-url.js';

/** URLs that a failure's message names. */
const named_max = 5;
const reason_chars_max = 120;

/**
 * Asks for each route, so that the caches on the way to it have its page. Every URL is asked at least once, and again
 * whenever the shard is run again: what a cache keeps of it cannot be promised, only observed.
 *
 * A URL that does not answer as expected fails the shard, which is retried: all of them are primed, or the failures are
 * named. One that may not be asked at all fails it for good.
 */
export async function primeUrls(
  { inputs }: Shard<UrlInputs>,
  context: ExecutorContext,
): Promise<ShardOutput> {
  const { method, concurrency } = inputs.options;
  const urls = urlsOf(inputs);
  const answers: HttpAnswer[] = [];
  const failures: string[] = [];
  await eachAtOnce(urls, concurrency, async (url, i) => {
    const answer = await ask(url, inputs, context);
    if (typeof answer === 'string') failures.push(`${inputs.routes[i]!} (${answer})`);
    else answers[i] = answer;
  });
  if (failures.length > 0) throw notPrimed(failures, urls.length);
  const list = await context.artifacts.put(Buffer.from(urlList(method, urls)));
  const observations = await context.artifacts.put(
    Buffer.from(linesOf(answers.map((answer, i) => ({ url: urls[i]!, ...answer })))),
  );
  return {
    digest: list.digest,
    value: {
      ...{ mode: 'urls', delivery: 'at_least_once', method, urls: urls.length, primed: urls.length },
      observed: {
        observations: observations.digest,
        body_bytes: answers.reduce((sum, { body_bytes }) => sum + body_bytes, 0),
        latency_ms_max: answers.reduce((most, { latency_ms }) => Math.max(most, latency_ms), 0),
      },
    },
    artifacts: [list, observations],
  };
}

/** The URLs of a shard's routes, in their order. Throws {@link FailShard}. */
export function urlsOf({ options: { base_url }, routes }: UrlInputs): string[] {
  if (base_url === null) {
    throw new FailShard(
      'BASE_URL_MISSING',
      'Routes are asked for under a base URL. Set config.base_url of the stage, such as "https://app.example.com".',
    );
  }
  return routes.map((route) => routeUrl(base_url, route));
}

/** The answer when it is an expected one; else what is wrong with it, in words. */
async function ask(url: string, inputs: UrlInputs, context: ExecutorContext): Promise<HttpAnswer | string> {
  const { method, timeout_ms, concurrency, expect } = inputs.options;
  try {
    const answer = await context.http.request({
      ...{ method, url, timeout_ms, origin_concurrency_max: concurrency },
      signal: context.signal,
    });
    return isExpected(expect, answer.status) ? answer : `status ${answer.status}`;
  } catch (error) {
    if (error instanceof HttpRefused) throw new FailShard(error.code, error.message, { cause: error });
    if (error instanceof HttpFailed) return error.message.slice(0, reason_chars_max);
    throw error;
  }
}

function notPrimed(failures: readonly string[], urls: number): RetryShard {
  const named = failures.slice(0, named_max).map((failure) => failure.slice(0, 2 * reason_chars_max));
  const more = failures.length > named_max ? ` and ${failures.length - named_max} more` : '';
  return new RetryShard(
    'URLS_NOT_PRIMED',
    `${failures.length} of ${urls} routes did not answer as expected: ${named.join(', ')}${more}.`,
  );
}
