import tseslint from 'typescript-eslint';
import boundaries from 'eslint-plugin-boundaries';
import importX from 'eslint-plugin-import-x';

/** The house plan of docs/ARCHITECTURE.md, as lint errors: who may import whom. */
const rooms = [
  { type: 'app', pattern: 'apps/*', capture: ['app'] },
  { type: 'adapter', pattern: 'libs/adapters/*', capture: ['technology'] },
  { type: 'executor-contract', pattern: 'libs/hxo/src/execute' },
  { type: 'hxo', pattern: 'libs/hxo' },
  { type: 'executors', pattern: 'libs/executors' },
  { type: 'truth', pattern: 'libs/truth' },
  { type: 'genesis', pattern: 'libs/genesis' },
  { type: 'permission', pattern: 'libs/permission' },
  { type: 'settings', pattern: 'libs/settings' },
  { type: 'test', pattern: 'test' },
];

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'coverage/**'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { boundaries, 'import-x': importX },
    settings: {
      'boundaries/elements': rooms,
      'import/resolver': { typescript: { project: './tsconfig.json' } },
      'import-x/resolver': { typescript: { project: './tsconfig.json' } },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'import-x/no-cycle': 'error',
    },
  },
);
