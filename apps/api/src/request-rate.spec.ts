import { burst_requests, RequestRate, requests_per_s } from './request-rate.js';

const passed = (rate: RequestRate, address: string, requests: number, now_ms: number): number =>
  Array.from({ length: requests }, () => rate.take(address, now_ms)).filter((wait_s) => wait_s === 0).length;

describe('RequestRate', () => {
  it('lets a burst pass, then so many requests a second', () => {
    const rate = new RequestRate();
    expect(passed(rate, '10.0.0.1', 5_000, 0)).toBe(burst_requests);
    expect(rate.take('10.0.0.1', 0)).toBe(1);
    expect(passed(rate, '10.0.0.1', 5_000, 1_000)).toBe(requests_per_s);
    expect(passed(rate, '10.0.0.1', 5_000, 3_600_000)).toBe(burst_requests);
  });

  it('never stops who stays below the rate', () => {
    const rate = new RequestRate();
    for (let i = 0; i < 10_000; i++) expect(rate.take('10.0.0.1', (i * 1_000) / requests_per_s)).toBe(0);
  });

  it.each([
    ['10.0.0.1', '10.0.0.2', false],
    ['10.0.0.1', '::ffff:10.0.0.1', true],
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:0:0:9', true],
    ['2001:db8::1', '2001:db8:0:0:5::', true],
    ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['fe80::1%eth0', 'fe80::2%eth0', true],
    ['::1', '10.0.0.1', false],
  ])('%s and %s share a bucket: %s', (one, other, shared) => {
    const rate = new RequestRate();
    passed(rate, one, burst_requests, 0);
    expect(rate.take(other, 0)).toBe(shared ? 1 : 0);
  });

  it('remembers the latest addresses only', () => {
    const rate = new RequestRate();
    passed(rate, '10.0.0.1', burst_requests, 0);
    for (let i = 0; i < 10_000; i++) rate.take(`10.1.${i >> 8}.${i & 255}`, 0);
    expect(rate.take('10.0.0.1', 0)).toBe(0);
    expect(rate.take('10.1.0.0', 0)).toBe(0);
    expect((rate as unknown as { buckets: Map<string, unknown> }).buckets.size).toBe(10_000);
  });
});
