import { readFileSync } from 'node:fs';
import { isAbsolute, relative, resolve } from 'node:path';
import { parse } from 'yaml';

/** docker-compose.yml and the image agree. No container is run here: the two files are read. */

interface Service {
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly volumes: readonly string[];
  readonly build?: object;
}
const compose = parse(readFileSync('docker-compose.yml', 'utf8')) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const dockerfile = readFileSync('docker/Dockerfile', 'utf8');
const ours = Object.entries(compose.services).filter(([, service]) => service.build !== undefined);

it('mounts named volumes where the image has a folder of the user that runs in it', () => {
  const [, user] = /^USER (\w+)$/m.exec(dockerfile)!;
  const [, made] = /mkdir -p ([^&]+) &&/.exec(dockerfile)!;
  const [, owned] = new RegExp(`chown ${user}:${user} (.+)$`, 'm').exec(dockerfile)!;
  const mounted = ours.flatMap(([, { volumes }]) =>
    volumes.map((volume) => volume.split(':')).filter(([name]) => name! in compose.volumes),
  );
  expect(mounted.length).toBeGreaterThan(0);
  for (const [, folder] of mounted) {
    expect(made!.split(' ')).toContain(folder);
    expect(owned!.split(' ')).toContain(folder);
  }
});

it('keeps every secret out of the folder that is mounted as the workspace by default', () => {
  for (const [name, { volumes }] of ours) {
    expect([name, volumes]).toEqual([name, expect.arrayContaining(['${HXO_WORKSPACE:-.}:/workspace:ro'])]);
  }
  for (const { file } of Object.values(compose.secrets)) {
    const path = relative('.', resolve(file));
    expect(path.startsWith('..') || isAbsolute(path)).toBe(true);
    // What one types to make them goes to the same place.
    const folder = file.replace(/\/[^/]+$/, '');
    expect(readFileSync('docker-compose.yml', 'utf8')).toContain(`mkdir -p ${folder} &&`);
  }
});

it('hands each service the secrets that its settings name, and the worker no token', () => {
  for (const [, { environment = {}, secrets = [] }] of ours) {
    const named = Object.values(environment).filter((value) => value.startsWith('/run/secrets/'));
    expect(named.map((path) => path.replace('/run/secrets/', '')).sort()).toEqual([...secrets].sort());
  }
  expect(compose.services.worker!.secrets).toEqual(['bundle-key']);
});
