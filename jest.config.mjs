/** Specs run from the TypeScript sources; anything that needs a real process or thread runs from dist/. */
const project = {
  testEnvironment: 'node',
  testRegex: '\\.(spec|e2e-spec)\\.ts$',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
          target: 'es2022',
          keepClassNames: true,
        },
        module: { type: 'es6' },
      },
    ],
  },
  moduleNameMapper: {
    '^#hxo/execute$': '<rootDir>/libs/hxo/src/execute/index.ts',
    '^#([a-z]+)/module$': '<rootDir>/libs/$1/src/$1.module.ts',
    '^#adapters/typeorm/reader$': '<rootDir>/libs/adapters/typeorm/reader.ts',
    '^#adapters/(.*)$': '<rootDir>/libs/adapters/$1/index.ts',
    '^#([a-z]+)$': '<rootDir>/libs/$1/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
};

const units = { roots: ['<rootDir>/apps', '<rootDir>/libs'] };
const systems = { roots: ['<rootDir>/test'] };

/** The end-to-end specs that also run federated: one API, a Redis, two workers. */
const over_both = 'test/e2e/(lifecycle|migrate|prime|reuse|status|federation)\\.e2e-spec\\.ts$';

export default {
  testTimeout: 30_000,
  projects: [
    { ...project, ...units, displayName: 'units' },
    { ...project, ...systems, displayName: 'embedded', testPathIgnorePatterns: ['federation\\.e2e-spec'] },
    {
      ...project,
      ...systems,
      displayName: 'federated',
      testRegex: over_both,
      globals: { hxo_mode: 'federated' },
    },
  ],
};
