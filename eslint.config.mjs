import tseslint from 'typescript-eslint';
import importX from 'eslint-plugin-import-x';

/** Who may import whom: the house plan of docs/ARCHITECTURE.md. A room that is not listed for another is closed to it. */
const rooms = {
  'libs/settings': [],
  'libs/truth': [],
  'libs/genesis': [],
  'libs/permission': [],
  'libs/hxo': ['libs/truth', 'libs/genesis', 'libs/permission'],
  'libs/executors': ['libs/hxo/src/execute'],
  'libs/adapters/files': ['libs/hxo', 'libs/truth'],
  'libs/adapters/threads': ['libs/hxo', 'libs/truth'],
  'libs/adapters/bullmq': ['libs/hxo', 'libs/truth'],
  'libs/adapters/redis-cache': ['libs/hxo'],
  'libs/adapters/http': ['libs/hxo'],
  'libs/adapters/pino': ['libs/hxo'],
  'libs/adapters/background': ['libs/hxo', 'libs/truth'],
  'libs/adapters/typeorm': ['libs/hxo', 'libs/truth'],
  'libs/adapters/sql': ['libs/hxo'],
};

const zones = Object.entries(rooms).map(([room, open]) => ({
  target: `./${room}/**/!(*.spec).ts`,
  from: './',
  except: [`./${room}`, ...open.map((other) => `./${other}`), './node_modules'],
  message: `${room} may import only itself and ${open.join(', ') || 'packages'} (docs/ARCHITECTURE.md).`,
}));
const nobody_imports_apps = {
  target: './libs/**/*',
  from: './apps',
  message: 'Nobody imports apps: composition is the last word.',
};

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'coverage/**', 'restored/**'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver': { typescript: { project: './tsconfig.json' } } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'import-x/no-cycle': 'error',
      'import-x/no-unresolved': 'error',
      'import-x/no-restricted-paths': [
        'error',
        { basePath: import.meta.dirname, zones: [...zones, nobody_imports_apps] },
      ],
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            { regex: '^(\\.\\./)+([a-z]+/)+src/', message: 'Another room is entered by its #name only.' },
          ],
        },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='process'][property.name='env']",
          message: 'The environment is read in libs/settings and nowhere else.',
        },
      ],
    },
  },
  { files: ['libs/settings/**/*.ts'], rules: { 'no-restricted-syntax': 'off' } },
  // Tests look behind the doors.
  {
    files: ['test/**/*.ts', '**/*.spec.ts'],
    rules: { 'no-restricted-syntax': 'off', 'no-restricted-imports': 'off' },
  },
);
