import { ConfigError, type Executor, type ExecutorContext, type Shard, type ShardOutput } from '#hxo/execute';
import { collect } from './collect.js';
import { parseInputs, type ContentInputs, type PrimeInputs, type UrlInputs } from './inputs.js';
import { options } from './options.js';
import { primeContent } from './prime-content.js';
import { primeUrls } from './prime-urls.js';

/**
 * Primes caches: the content cache with the files of modules, or whatever lies before a site with its pages.
 *
 * Neither cacheable nor deterministic, though equal inputs give an equal digest or none: what it vouches for lies
 * outside HXO, may go at any time, and can be observed again but not computed again.
 */
export const primeCaches: Executor<PrimeInputs> = {
  name: 'prime_caches',
  version: '1',
  kinds: ['deploy.prime'],
  cacheable: false,
  deterministic: false,
  load: 'io',
  isolation: 'thread',
  options,
  checkOptions: ({ base_url }, config) => {
    // Routes and urls are by_route_map's: a stage that has them will ask for pages.
    const asks = config.routes !== undefined || config.urls !== undefined;
    if (!asks || base_url !== null) return;
    throw new ConfigError(
      'base_url',
      'base_url is missing: routes and urls are asked for under it. Set it, such as "https://app.example.com".',
    );
  },
  parse: parseInputs,
  run,
  collect,
};

function run(shard: Shard<PrimeInputs>, context: ExecutorContext): Promise<ShardOutput> {
  return shard.inputs.mode === 'content'
    ? primeContent(shard as Shard<ContentInputs>, context)
    : primeUrls(shard as Shard<UrlInputs>, context);
}
