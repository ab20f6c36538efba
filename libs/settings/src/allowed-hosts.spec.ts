import { parseAllowedHost } from './allowed-hosts.js';

it.each([
  ['app.example.com', 'app.example.com', null, null],
  ['App.Example.COM:8080', 'app.example.com', null, 8080],
  ['bücher.example', 'xn--bcher-kva.example', null, null],
  ['localhost:80', 'localhost', null, 80],
  ['10.0.0.5', '10.0.0.5', null, null],
  ['0x7f.1:3000', '127.0.0.1', null, 3000],
  ['10.0.0.0/8', '10.0.0.0', 8, null],
  ['fd00::/8', 'fd00::', 8, null],
  ['::1', '::1', null, null],
  ['[::1]', '::1', null, null],
  ['[0:0:0:0:0:0:0:1]:443', '::1', null, 443],
])('%s', (entry, host, prefix_bits, port) => {
  expect(parseAllowedHost(entry)).toEqual({ host, prefix_bits, port });
});

it.each([
  'http://example.com',
  'example.com/path',
  'user@example.com',
  'example.com:0',
  'example.com:65536',
  'example.com:http',
  '10.0.0.0/33',
  'example.com/8',
  '[::1',
  '::1/129',
  '*',
  '*.example.com',
  '1.2.3.4.5',
  'two words',
])('%s is none', (entry) => {
  expect(parseAllowedHost(entry)).toBeNull();
});
